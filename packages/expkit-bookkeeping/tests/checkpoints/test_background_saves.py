"""`save_checkpoint(…, background=True)`: what is in the file, when, and what goes wrong."""

import contextlib
import copy
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
    import torch
else:
    torch = pytest.importorskip("torch")

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from expkit_bookkeeping import Bookkeeping, ClaimLost, read_run

SCRIPTS = Path(__file__).parent


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "digits" / "training" / "run"


def open_run(folder, **expkit):
    return Bookkeeping(folder, config={"expkit": expkit}, console=False)


def files(folder):
    return sorted(path.name for path in (folder / "states").iterdir())


def content(folder, epoch):
    return torch.load(folder / "states" / f"epoch_{epoch:04d}.pt", weights_only=True)


@contextlib.contextmanager
def nothing_is_written(run):
    """A disk that takes its time: who writes the metrics first waits until the block ends."""
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with run._run.metrics._lock:
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    try:
        yield
    finally:
        leave.set()
        thread.join()


@contextlib.contextmanager
def files_no_larger_than(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    model[2].weight = nn.Parameter(torch.zeros(3, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    model(torch.randn(5, 3)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


# --- what is in the file ---------------------------------------------------------------------


def test_the_file_is_that_of_the_moment_of_the_call(folder):
    model, optimizer = trained()
    history, raw, array = [1, [2]], bytearray(b"ab"), np.arange(3)
    objects = {"model": model, "optimizer": optimizer, "history": history, "raw": raw}
    with open_run(folder) as run:
        with nothing_is_written(run):
            run.log_metrics({"loss": 1.0}, step=7)
            run.save_checkpoint(0, **objects, array=array, background=True)
            expected = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
            draws = random.random(), np.random.rand(), torch.rand(()).item()
            for _ in range(3):
                step(model, optimizer)
            optimizer.param_groups[0]["lr"] = 9.0
            history[1].append(3)
            raw += b"c"
            array += 1
            run.log_metrics({"loss": 2.0}, step=8)
        run.wait_for_checkpoint()
        run.close("interrupted")
    saved = content(folder, 0)
    with open_run(folder) as run:
        start = run.resume(model=model, optimizer=optimizer, history=[], raw=b"", array=0)
        assert draws == (random.random(), np.random.rand(), torch.rand(()).item())

    torch.testing.assert_close(saved["states"]["model"], expected[0], rtol=0, atol=0)
    assert repr(optimizer.state_dict()) == repr(expected[1])
    assert start.extra["history"] == [1, [2]]
    assert start.extra["raw"] == b"ab"
    assert start.extra["array"].tolist() == [0, 1, 2]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [7]  # the later one was cut when it resumed


def test_the_file_equals_that_of_a_call_that_waits(folder):
    model, optimizer = trained()
    model[2].weight = model[0].weight  # tied, though of other shapes elsewhere
    whole = torch.arange(100.0)
    tensors = {
        "part": whole[10:20],
        "transposed": whole.view(10, 10).T,
        "same": whole,
        "alone": torch.ones(7)[2:5],
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "conjugate": torch.ones(2, dtype=torch.complex64).conj() * 1j,
        "expanded": torch.ones(1).expand(5),
        "channels": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "parameter": nn.Parameter(torch.ones(2)),
        "needs grad": torch.ones(2, requires_grad=True) * 2,
    }
    with open_run(folder, keep_last=None) as run:
        state = torch.get_rng_state()
        for epoch, background in enumerate([False, True, True]):
            torch.set_rng_state(state)
            run.save_checkpoint(
                epoch, model=model, optimizer=optimizer, tensors=tensors, background=background
            )
    first, *others = (content(folder, epoch) for epoch in range(3))
    sizes = [record_sizes(folder / "states" / f"epoch_000{epoch}.pt") for epoch in range(3)]

    for other in others:
        for key in ("states", "extra"):
            torch.testing.assert_close(other[key], first[key], rtol=0, atol=0)
            assert layout(other[key]) == layout(first[key])
        tied = other["states"]["model"]
        assert tied["0.weight"].data_ptr() == tied["2.weight"].data_ptr()
        assert other["rng"]["torch"].equal(first["rng"]["torch"])
    assert sizes[0] == sizes[1] == sizes[2]


def record_sizes(path):
    """What torch.save wrote, but for the text of the structure."""
    with zipfile.ZipFile(path) as archive:
        return sorted(
            (info.filename.partition("/")[2], info.file_size)
            for info in archive.infolist()
            if not info.filename.endswith((".pkl", "serialization_id"))
        )


def layout(value):
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.stride(), value.storage_offset()
    if isinstance(value, dict):
        return {key: layout(part) for key, part in value.items()}
    return None


def test_tensors_without_plain_memory_are_saved_too(folder):
    numbers = torch.ones(2, dtype=torch.complex64)
    turning = numbers * (1 + 2j)
    tensors = {
        "sparse": torch.eye(3).to_sparse(),
        "conjugate": (numbers * 1j).conj(),
        "part of a conjugate": (numbers * 1j).conj()[1:],
        "imaginary": (numbers * 1j).conj().imag,
        "real": torch.view_as_real(numbers),  # one memory of two types
        "complex": numbers,
        "turning": turning,
        "its conjugate": turning.conj(),
    }
    with open_run(folder) as run:
        for epoch in range(3):
            turning *= 1j
            run.save_checkpoint(epoch, tensors=tensors, background=True)
    saved = content(folder, 2)["extra"]["tensors"]

    assert saved["sparse"].to_dense().equal(torch.eye(3))
    for name, tensor in tensors.items():
        if name != "sparse":
            assert torch.equal(saved[name], tensor), name


@pytest.mark.parametrize("name", ["strided nested", "jagged nested", "quantized by channel"])
@pytest.mark.filterwarnings("ignore")
def test_nested_and_quantized_tensors_equal_those_of_a_call_that_waits(folder, name):
    parts = [torch.rand(2, 3), torch.rand(4, 3)]
    numbers = torch.rand(4, 2), torch.rand(4), torch.rand(4)  # zero points that are no integers
    make = {
        "strided nested": lambda: torch.nested.nested_tensor(parts),
        "jagged nested": lambda: torch.nested.nested_tensor(parts, layout=torch.jagged),
        "quantized by channel": lambda: torch.quantize_per_channel(*numbers, 0, torch.quint8),
    }
    tensor = make[name]()
    with open_run(folder, keep_last=None) as run:
        for epoch, background in enumerate([False, True, True]):
            run.save_checkpoint(epoch, tensor=tensor, background=background)
    saved = [content(folder, epoch)["extra"]["tensor"] for epoch in range(3)]

    for other in saved:
        assert type(other) is type(tensor)
        if tensor.is_quantized:
            assert torch.equal(other.int_repr(), tensor.int_repr())
            assert torch.equal(other.dequantize(), tensor.dequantize())
        else:
            assert all(map(torch.equal, other.unbind(), parts))


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("default_to", [default_device, torch.device])
def test_the_programs_default_device_is_not_that_of_the_copy(folder, default_to):
    from expkit_bookkeeping._checkpoints.host_memory import BlockSpec, allocate

    model, optimizer = trained()
    model.register_buffer("empty", torch.zeros(0, 3))
    with open_run(folder, keep_last=None) as run, default_to("meta"):
        for epoch in range(3):
            run.save_checkpoint(epoch, model=model, optimizer=optimizer, background=True)
        (block,) = allocate([BlockSpec(8, pinned=True)])
        assert block.device.type == "cpu"
    for epoch in range(3):
        saved = content(folder, epoch)["states"]
        torch.testing.assert_close(saved["model"], model.state_dict(), rtol=0, atol=0)
        torch.testing.assert_close(saved["optimizer"], optimizer.state_dict(), rtol=0, atol=0)


def test_a_save_in_inference_mode_disturbs_no_later_one(folder):
    model = nn.Linear(3, 3)
    optimizer = torch.optim.Adam(model.parameters())  # without a state before its first step
    expected = []
    with open_run(folder, keep_last=None) as run:
        for epoch in range(4):
            with torch.inference_mode(epoch in (0, 2)):
                run.save_checkpoint(epoch, model=model, optimizer=optimizer, background=True)
            run.wait_for_checkpoint()  # so that all use one memory
            expected.append(copy.deepcopy((model.state_dict(), optimizer.state_dict())))
            step(model, optimizer)
    for epoch in range(4):
        saved = content(folder, epoch)["states"]
        torch.testing.assert_close(
            (saved["model"], saved["optimizer"]), expected[epoch], rtol=0, atol=0
        )


def test_a_tensor_among_a_modules_versions_is_that_of_the_call(folder):
    class Scaled(nn.Linear):
        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination._metadata[prefix[:-1]]["scale"] = scale

    scale, models = torch.zeros(3), [Scaled(1, 1), nn.Sequential(Scaled(1, 1), Scaled(1, 1))]
    with open_run(folder, keep_last=None) as run:
        for epoch in range(4):
            scale += 1
            with nothing_is_written(run):
                run.save_checkpoint(epoch, model=models[epoch // 2], background=True)
                scale += 1
            run.wait_for_checkpoint()
            scale -= 1
    for epoch in range(4):
        metadata = content(folder, epoch)["states"]["model"]._metadata
        scales = [part["scale"].tolist() for part in metadata.values() if "scale" in part]
        assert scales == [[epoch + 1] * 3] * (1 + epoch // 2)


SHOWN = {
    "whole": lambda tensor: tensor,
    "flat": lambda tensor: tensor.view(-1),
    "rows": lambda tensor: tensor[1:],
    "turned": lambda tensor: tensor.T,
    "repeated": lambda tensor: tensor[None].expand(2, *tensor.shape),
    "negative": lambda tensor: torch._neg_view(tensor),
}


@st.composite
def states(draw, memories=None):
    """Tensors that show parts of a few memories, as whole, sliced, transposed or repeated."""
    if memories is None:
        shapes = draw(st.lists(st.tuples(*[st.integers(0, 4)] * 2), min_size=1, max_size=3))
        memories = [torch.rand(shape) for shape in shapes]
    picks = draw(
        st.lists(st.tuples(st.sampled_from(range(len(memories))), st.sampled_from(sorted(SHOWN))))
    )
    return {f"{i} {name}": SHOWN[name](memories[k]) for i, (k, name) in enumerate(picks)}


# Again and again the same few memories: nearly all of a state is where it was the last time.
FEW = [torch.rand(2, 3), torch.rand(3, 2), torch.rand(1, 6), torch.rand(2, 3)]


def copied_by(staging, state):
    from expkit_bookkeeping._files.saveable import saveable

    return staging.copy_of(lambda keep: saveable(state, keep=keep))


@settings(deadline=None)
@given(st.lists(states(), min_size=1, max_size=4) | st.lists(states(FEW), min_size=2, max_size=6))
def test_a_copy_equals_its_original_and_shares_what_that_shares(rounds):
    from expkit_bookkeeping._checkpoints.staging import Staging

    staging = Staging()  # used again and again, for states of other structure
    for state in rounds:
        for tensor in FEW:
            tensor.uniform_()
        copied = copied_by(staging, state)
        addresses, copies = {}, {}
        for name, tensor in state.items():
            twin = copied[name]
            assert torch.equal(twin, tensor)
            assert layout(twin) == layout(tensor)
            if tensor.untyped_storage().nbytes() and not tensor.is_neg():
                address = tensor.untyped_storage().data_ptr()
                twin_address = twin.untyped_storage().data_ptr()
                assert addresses.setdefault(address, twin_address) == twin_address
                assert copies.setdefault(twin_address, address) == address
                assert address != twin_address


def test_a_tensor_that_changed_its_form_in_place_is_copied_in_the_new_one():
    from expkit_bookkeeping._checkpoints.staging import Staging

    staging, tensor = Staging(), torch.arange(6.0).view(2, 3)
    state = {"a": torch.ones(2), "changing": tensor, "z": torch.zeros(2)}
    copied_by(staging, state)
    address = tensor.data_ptr()
    for change in (
        lambda: tensor.resize_(3, 2),
        lambda: tensor.resize_(2, 2),
        lambda: tensor.t_(),
        lambda: tensor.set_(tensor.detach().view(torch.int32).view(torch.float32)),
        lambda: setattr(tensor, "data", torch.arange(5.0)),
    ):
        change()
        for _ in range(2):
            state["z"] += 1
            copy = copied_by(staging, state)
            assert {name: layout(part) for name, part in copy.items()} == layout(state)
            assert all(torch.equal(copy[name], state[name]) for name in state)
    assert tensor.data_ptr() != address


def test_a_state_that_gains_and_loses_tensors_is_copied_as_it_is():
    from expkit_bookkeeping._checkpoints.staging import Staging

    staging, large = Staging(), torch.rand(3 << 20)
    every = {name: torch.rand(3) for name in "abc"} | {"large": large, "part": large[1:]}
    for names in ("abc", "ab", "abc", "bc", "", "c", "ca"):
        for more in ((), ("large",), ("part", "large"), ("large", "part"), ("part",)):
            state = {name: every[name] for name in (*names, *more)}
            for tensor in every.values():
                if tensor is not every["part"]:
                    tensor += 1
            copy = copied_by(staging, state)
            assert list(copy) == list(state)
            assert all(torch.equal(copy[name], state[name]) for name in state)


def test_large_memories_are_copied_by_several_threads_that_end_with_the_copy():
    from expkit_bookkeeping._checkpoints.staging import Staging

    def helpers():
        return [
            thread for thread in threading.enumerate() if thread.name == "expkit-bookkeeping copies"
        ]

    def end():
        gc.collect()
        deadline = time.monotonic() + 10
        while helpers() and time.monotonic() < deadline:
            time.sleep(0.01)
        return not helpers()

    assert end()  # those of other tests
    staging = Staging()
    state = {str(size): torch.rand(size) for size in (7, 300_000, (3 << 18) + 5, 1 << 22)}
    for _ in range(20):
        for tensor in state.values():
            tensor.uniform_()
        copy = copied_by(staging, state)
        assert all(torch.equal(copy[name], tensor) for name, tensor in state.items())
    assert len(helpers()) == min(torch.get_num_threads(), 4) - 1
    del staging
    assert end()


INTERRUPTED = """
import random, signal, sys, threading, time, torch
from expkit_bookkeeping._checkpoints.staging import Staging
from expkit_bookkeeping._files.saveable import saveable

class Stop(Exception):
    pass

def stop(number, frame):
    raise Stop

def copied(state):
    return staging.copy_of(lambda keep: saveable(state, keep=keep))

torch.set_num_threads(4)
signal.signal(signal.SIGALRM, stop)
staging, count = Staging(), 0
for seed in range(150):
    state = {i: torch.full((800_000,), float(seed)) for i in range(6)}
    try:
        signal.setitimer(signal.ITIMER_REAL, random.Random(seed).uniform(1e-5, 3e-3))
        copied(state)
        time.sleep(1)
    except Stop:
        count += 1
    del state  # the memory may go back to the system
    state = {i: torch.full((700_000,), -float(seed)) for i in range(8)}
    copy = copied(state)
    assert all(torch.equal(copy[i], state[i]) for i in state)
    time.sleep(1e-3)
    assert all(torch.equal(copy[i], state[i]) for i in state)
assert count == 150
"""


def test_a_copy_that_a_signal_interrupts_disturbs_no_later_one():
    subprocess.run([sys.executable, "-c", INTERRUPTED], check=True, timeout=300)


def test_the_metric_of_the_call_ranks_the_file(folder):
    with open_run(folder, metric="accuracy", keep_last=1) as run:
        with nothing_is_written(run):
            for epoch, value in enumerate([0.9, 0.1]):
                run.log_metrics({"accuracy": value}, step=epoch)
                run.save_checkpoint(epoch, value=value, background=True)
            run.log_metrics({"accuracy": 0.5}, step=2)
        run.save_checkpoint(2, value=0.5)

    assert files(folder) == ["best.pt", "epoch_0000.pt", "epoch_0002.pt"]
    assert content(folder, 0)["metric"] == {"name": "accuracy", "value": 0.9}


# --- who waits for it ------------------------------------------------------------------------


def test_the_call_does_not_wait_and_the_end_of_the_block_does(folder):
    with open_run(folder) as run, nothing_is_written(run):
        path = run.save_checkpoint(0, value=1, background=True)
        assert not path.exists()
    assert path == folder / "states" / "epoch_0000.pt"
    assert content(folder, 0)["extra"] == {"value": 1}
    assert read_run(folder).state == "completed"


@pytest.mark.parametrize("wait", ["wait_for_checkpoint", "resume", "load_model", "save_checkpoint"])
def test_what_reads_or_writes_checkpoints_waits_for_those_under_way(folder, wait):
    model = nn.Linear(2, 2)
    with open_run(folder) as run:
        with nothing_is_written(run):
            run.save_checkpoint(0, model=model, background=True)
            done = threading.Event()
            calls = {
                "wait_for_checkpoint": run.wait_for_checkpoint,
                "resume": lambda: run.resume(model=model),
                "load_model": lambda: run.load_model(model, "epoch_0000"),
                "save_checkpoint": lambda: run.save_checkpoint(1, model=model),
            }
            thread = threading.Thread(target=lambda: (calls[wait](), done.set()))
            thread.start()
            assert not done.wait(0.1)
        thread.join()
        assert done.is_set()


def test_a_third_save_waits_for_the_first(folder):
    model = nn.Linear(2, 2)
    with open_run(folder, keep_last=None) as run:
        with nothing_is_written(run):
            for epoch in range(2):
                nn.init.constant_(model.weight, epoch)
                run.save_checkpoint(epoch, model=model, background=True)
            nn.init.constant_(model.weight, 2)
            done = threading.Event()
            thread = threading.Thread(
                target=lambda: (run.save_checkpoint(2, model=model, background=True), done.set())
            )
            thread.start()
            assert not done.wait(0.1)
        thread.join()
    weights = [content(folder, epoch)["states"]["model"]["weight"][0, 0] for epoch in range(3)]

    assert done.is_set()
    assert weights == [0, 1, 2]


MEMORY = """
import os, sys, torch
from expkit_bookkeeping import Bookkeeping
model = torch.nn.Linear(2500, 5000)  # 50 MB
with Bookkeeping(sys.argv[1], console=False) as run:
    run.save_checkpoint(0, value=1, background=True)
    run.wait_for_checkpoint()
    pages = []
    for epoch in range(1, 9):
        pages.append(int(open("/proc/self/statm").read().split()[1]))
        run.save_checkpoint(epoch, model=model, background=True)
    print((max(pages) - pages[0]) * os.sysconf("SC_PAGESIZE") / 1e6)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_is_that_of_two_states_however_many_come_at_once(folder):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, folder], capture_output=True, text=True, check=True
    )

    assert 90 < float(done.stdout) < 125


class SavesWhenAsked:
    """Something whose state_dict saves another checkpoint, as a signal's handler may meanwhile."""

    def __init__(self, run, epoch):
        self.run, self.epoch = run, epoch

    def save(self):
        weight = torch.full((3,), float(self.epoch))
        self.run.save_checkpoint(self.epoch, weight=weight, nested=self, background=True)

    def state_dict(self):
        if self.epoch > 0:
            SavesWhenAsked(self.run, self.epoch - 1).save()
        return {"weight": torch.full((5,), float(self.epoch))}

    def load_state_dict(self, state):
        raise AssertionError


def test_a_save_within_another_costs_neither(folder):
    with open_run(folder, keep_last=None) as run:
        with nothing_is_written(run):
            SavesWhenAsked(run, 1).save()
        for epoch in range(2, 6):
            run.save_checkpoint(epoch, weight=torch.full((3,), float(epoch)), background=True)
    for epoch in range(6):
        saved = content(folder, epoch)
        assert saved["extra"]["weight"].tolist() == [epoch] * 3
        if epoch < 2:
            assert saved["states"]["nested"]["weight"].tolist() == [epoch] * 5


def test_a_save_within_a_save_within_a_save_is_refused(folder):
    with open_run(folder) as run:
        with pytest.raises(RuntimeError, match="two such calls are still copying their states"):
            SavesWhenAsked(run, 2).save()
        run.save_checkpoint(0, value=1, background=True)
        run.save_checkpoint(1, value=1, background=True)

    assert files(folder) == ["epoch_0000.pt", "epoch_0001.pt"]


def test_other_ranks_copy_and_write_nothing(folder):
    with Bookkeeping(folder, rank=1) as run:
        path = run.save_checkpoint(3, model=nn.Linear(2, 2), background=True)
        run.wait_for_checkpoint()

    assert path.name == "epoch_0003.pt"
    assert not folder.exists()


def test_the_memory_is_given_back_when_the_run_is_closed(folder):
    from expkit_bookkeeping._checkpoints.staging import Staging

    with open_run(folder) as run:
        run.save_checkpoint(0, model=nn.Linear(2, 2), background=True)
    gc.collect()

    assert run is not None
    assert not [item for item in gc.get_objects() if type(item) is Staging]


def test_an_object_that_takes_over_in_a_notebook_finds_the_file(folder):
    first = open_run(folder).open()
    with nothing_is_written(first):
        first.save_checkpoint(4, value=1, background=True)
        second = open_run(folder)
        thread = threading.Thread(target=second.open)
        thread.start()
    thread.join()
    assert second.resume(value=0) == 5
    second.close()


# --- what goes wrong -------------------------------------------------------------------------


def test_a_full_disk_is_raised_by_the_next_call_and_costs_one_checkpoint(folder):
    model = nn.Linear(1000, 1000)
    with open_run(folder, keep_last=None) as run:
        run.save_checkpoint(0, model=model, background=True)
        run.wait_for_checkpoint()
        with files_no_larger_than(1 << 20):
            run.save_checkpoint(1, model=model, background=True)
            run._wait_for_files()
        with pytest.raises(OSError, match=r"epoch_0001\.pt, of an earlier.*MB are free") as caught:
            run.save_checkpoint(2, model=model, background=True)
        assert files(folder) == ["epoch_0000.pt"]
        run.save_checkpoint(2, model=model, background=True)

    assert isinstance(caught.value.__cause__, OSError)
    assert files(folder) == ["epoch_0000.pt", "epoch_0002.pt"]
    assert read_run(folder).state == "completed"
    assert "epoch_0001.pt could not be written in the background" in log_of(folder)


def log_of(folder):
    return (folder / "training.log").read_text()


def save_on_a_full_disk(folder, then=lambda: None):
    with open_run(folder) as run:
        with files_no_larger_than(1 << 20):
            run.save_checkpoint(0, model=nn.Linear(1000, 1000), background=True)
            run._wait_for_files()
        then()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("background", [False, True])
def test_a_file_that_did_not_fit_takes_no_space_while_its_error_lives(folder, background):
    def fail():
        with open_run(folder) as run, files_no_larger_than(1 << 20):
            run.save_checkpoint(0, model=nn.Linear(1000, 1000), background=background)
            run._wait_for_files()

    with pytest.raises(OSError, match="MB are free") as caught:
        fail()
    held = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it is closed by now
            if descriptor.readlink().is_relative_to(folder):
                held.append(descriptor.stat().st_size)

    assert sum(held) == 0
    assert caught.value is not None
    assert files(folder) == []
    assert read_run(folder).state == "failed"


def test_a_run_whose_last_checkpoint_was_not_written_is_not_completed(folder):
    with pytest.raises(OSError, match=r"epoch_0000\.pt, of an earlier"):
        save_on_a_full_disk(folder)

    record = read_run(folder)
    assert (record.state, record.data["error"]["type"]) == ("failed", "OSError")


def test_an_error_of_the_training_is_not_hidden_by_one_of_the_disk(folder):
    with pytest.raises(ZeroDivisionError) as caught:
        save_on_a_full_disk(folder, lambda: 1 / 0)

    assert "epoch_0000.pt, of an earlier" in caught.value.__notes__[0]
    assert read_run(folder).data["error"]["type"] == "ZeroDivisionError"


def test_what_cannot_be_saved_is_refused_by_the_call_itself(folder):
    model, optimizer = trained()
    with open_run(folder) as run:
        run.save_checkpoint(0, model=model, background=True)
        with pytest.raises(TypeError, match=r"settings\.path is a .*Path"):
            run.save_checkpoint(1, model=model, settings={"path": Path()}, background=True)
        with pytest.raises(TypeError, match="epoch must be a whole number, not '1'"):
            run.save_checkpoint("1", model=model, background=True)
        run.save_checkpoint(1, model=model, optimizer=optimizer, background=True)

    assert files(folder) == ["epoch_0000.pt", "epoch_0001.pt"]


def test_a_run_that_was_lost_meanwhile_gets_no_file(folder):
    run = open_run(folder).open()
    with nothing_is_written(run):
        run.save_checkpoint(0, value=1, background=True)
        (folder / "claims" / "0002.json").write_text('{"host": "node7", "pid": 1}')
    run._wait_for_files()

    assert run.should_stop()
    with pytest.raises(ClaimLost, match="node7"):
        run.save_checkpoint(1, value=1, background=True)
    with pytest.raises(ClaimLost, match="node7"):
        run.close()
    assert not list(folder.glob("states/*"))


def test_a_claim_that_is_lost_while_the_file_is_written_leaves_it_unpublished(folder, monkeypatch):
    run = open_run(folder).open()
    written = torch.save

    def slow_save(content, path):
        written(content, path)
        (folder / "claims" / "0002.json").write_text('{"host": "node7", "pid": 1}')

    monkeypatch.setattr(torch, "save", slow_save)
    with pytest.raises(ClaimLost, match="node7"):
        run.save_checkpoint(0, value=1)
    run._release()

    assert files(folder) == []


# --- processes -------------------------------------------------------------------------------


def test_a_kill_at_any_moment_leaves_a_valid_checkpoint(tmp_path):
    from importlib.util import module_from_spec, spec_from_file_location

    script = SCRIPTS / "resumable_training.py"
    spec = spec_from_file_location("resumable_training", script)
    training = module_from_spec(spec)
    spec.loader.exec_module(training)
    delays_s = {tmp_path / "exp" / "training" / str(delay_s): delay_s for delay_s in (0.03, 0.2)}
    with subprocess.Popen(
        [sys.executable, script, "save-background", *delays_s], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in (process.stdout.readline() for _ in delays_s):
            folder, pid = json.loads(line)  # its first checkpoint is saved
            time.sleep(delays_s[Path(folder)])
            os.kill(pid, signal.SIGKILL)
    for folder in delays_s:
        model = training.large_model()
        with open_run(folder) as run:
            start = run.resume(model=model)

        assert start >= 1
        assert (model.weight == start - 1).all()
        assert "damaged" not in log_of(folder)


TERMINATED = """
import os, signal, sys, time, torch
from expkit_bookkeeping import Bookkeeping
model = torch.nn.Linear(3000, 3000)
with Bookkeeping(sys.argv[1], console=False) as run:
    run.save_checkpoint(0, model=model, background=True)
    {ending}
"""
ENDINGS = {
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", 143, "interrupted"),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -2, "interrupted"),
    "exit": ("sys.exit(3)", 3, "failed"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_that_is_asked_to_stop_writes_what_it_has_copied(folder, ending):
    code, status, state = ENDINGS[ending]
    script = TERMINATED.format(ending=code)
    done = subprocess.run([sys.executable, "-c", script, folder], stderr=subprocess.DEVNULL)

    assert done.returncode in (status, 128 + abs(status))
    assert files(folder) == ["epoch_0000.pt"]
    assert read_run(folder).state == state


def test_a_process_that_forgets_to_close_writes_it_too(folder):
    script = (
        "import sys, torch\n"
        "from expkit_bookkeeping import Bookkeeping\n"
        "run = Bookkeeping(sys.argv[1], console=False).open()\n"
        "run.save_checkpoint(0, model=torch.nn.Linear(3000, 3000), background=True)\n"
    )
    subprocess.run([sys.executable, "-c", script, folder], check=True)

    assert files(folder) == ["epoch_0000.pt"]
    assert read_run(folder).state == "interrupted"


def test_children_that_are_forked_meanwhile_neither_wait_nor_write(folder):
    model = nn.Linear(1000, 1000)
    with open_run(folder) as run:
        run.save_checkpoint(0, model=model, background=True)
        run.wait_for_checkpoint()
        with nothing_is_written(run):
            run.save_checkpoint(1, model=model, background=True)
            loader = torch.utils.data.DataLoader(list(range(8)), 2, num_workers=2)
            assert [batch.tolist() for batch in loader][3] == [6, 7]
            child = os.fork()
            if child == 0:  # leaves as a script does, with what is registered for the exit
                code = 1
                try:
                    torch.set_num_threads(1)  # OpenMP's threads are not in the child
                    with contextlib.suppress(RuntimeError):
                        run.save_checkpoint(2, model=model, background=True)
                        code = 2
                    run.load_model(nn.Linear(1000, 1000), "epoch_0000")
                    run.close()
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        run.save_checkpoint(2, model=model, background=True)

    assert files(folder) == ["epoch_0001.pt", "epoch_0002.pt"]
    assert torch.equal(content(folder, 2)["states"]["model"]["weight"], model.weight)


@pytest.mark.gpu
def test_a_state_on_a_gpu_is_that_of_the_call(folder):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = nn.Sequential(nn.Linear(1000, 1000), nn.Linear(1000, 1000)).cuda()
    model[1].weight = model[0].weight
    optimizer = torch.optim.Adam(model.parameters())
    with open_run(folder, keep_last=None) as run:
        for epoch in range(3):
            model(torch.randn(64, 1000, device="cuda")).square().mean().backward()
            optimizer.step()
            expected = copy.deepcopy(model.state_dict())
            draws = torch.cuda.get_rng_state()
            run.save_checkpoint(epoch, model=model, optimizer=optimizer, background=True)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(0)
            run.wait_for_checkpoint()
            saved = content(folder, epoch)
            for name, tensor in saved["states"]["model"].items():
                assert tensor.device.type == "cpu"
                assert torch.equal(tensor, expected[name].cpu())
            assert torch.equal(saved["rng"]["cuda"][0], draws)
            model.load_state_dict(expected)
