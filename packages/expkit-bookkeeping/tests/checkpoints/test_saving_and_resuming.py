import errno
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
    import torch
else:
    torch = pytest.importorskip("torch")

import numpy as np
from torch import nn

from expkit_bookkeeping import Bookkeeping, read_run

TRAINING = Path(__file__).with_name("resumable_training.py")


def load_training():
    spec = spec_from_file_location("resumable_training", TRAINING)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


training = load_training()


def small(seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def step(model, optimizer):
    model(torch.randn(5, 3)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def open_run(folder, **expkit):
    return Bookkeeping(folder, config={"expkit": expkit}, console=False)


def files(folder):
    return sorted(path.name for path in (folder / "states").iterdir())


def log_of(folder):
    return (folder / "training.log").read_text()


def metric_lines(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(line["step"], line["metrics"]) for line in map(json.loads, lines)]


def equal_states(left, right):
    assert left.keys() == right.keys()
    return all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "digits" / "training" / "run"


# --- resuming equals not stopping ------------------------------------------------------------


RUNS = {
    "no workers, generator": {"workers": 0, "generator": True},
    "no workers, global": {"workers": 0, "generator": False},
    "workers, generator": {"workers": 2, "generator": True},
    "workers, global": {"workers": 2, "generator": False},
    "workers, background": {"workers": 2, "generator": True, "background": True},
}
INSIDE = {"workers": 0, "epochs": 3, "stateful": True, "save_at": [1, 2]}
RUNS_INSIDE = {
    "inside, generator": {**INSIDE, "generator": True},
    "inside, global": {**INSIDE, "generator": False},
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folder of an experiment whose runs were all killed by SIGKILL in the middle of an epoch."""
    folder = tmp_path_factory.mktemp("killed") / "training"
    runs = {name: {**options, "kill_in": 2} for name, options in RUNS.items()}
    if find_spec("torchdata"):
        runs |= {name: {**options, "kill_in": 1} for name, options in RUNS_INSIDE.items()}
    jobs = {str(folder / name): options for name, options in runs.items()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", TRAINING, "train", json.dumps(jobs)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [-signal.SIGKILL] * len(jobs), done.stderr
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_two_epochs_and_a_sigkill_and_two_more_equal_four(tmp_path, killed, name):
    folder = killed / name
    whole = training.train(tmp_path / "exp" / "training" / "whole", **RUNS[name])
    newest = [name for name in files(folder) if name.endswith(".pt")][-1]
    # What is written in the background may lose the race with the kill.
    assert newest == "epoch_0001.pt" or "background" in name

    resumed = training.train(folder, **RUNS[name])

    assert resumed.start == int(newest[6:10]) + 1
    assert equal_states(whole.model, resumed.model)
    assert whole.optimizer == resumed.optimizer
    assert metric_lines(folder) == metric_lines(tmp_path / "exp" / "training" / "whole")
    assert [step for step, _ in metric_lines(folder)] == list(range(4))


@pytest.mark.parametrize("name", RUNS_INSIDE)
def test_a_stateful_loader_continues_in_the_middle_of_an_epoch(tmp_path, killed, name):
    pytest.importorskip("torchdata")
    folder = killed / name
    whole = training.train(tmp_path / "exp" / "training" / "whole", **RUNS_INSIDE[name])
    assert "epoch_0001_batch_000002.pt" in files(folder)

    resumed = training.train(folder, **RUNS_INSIDE[name])

    assert (resumed.start, resumed.start.batch) == (1, 2)
    assert equal_states(whole.model, resumed.model)
    assert metric_lines(folder) == metric_lines(tmp_path / "exp" / "training" / "whole")


def test_a_stateful_loader_with_workers_gives_the_remaining_batches(folder):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")

    def loader():
        generator = torch.Generator().manual_seed(3)
        return loaders.StatefulDataLoader(
            list(range(12)), 2, shuffle=True, num_workers=2, generator=generator
        )

    with open_run(folder) as run:
        first = loader()
        batches = iter(first)
        done = [next(batches).tolist() for _ in range(3)]
        run.save_checkpoint(0, batch=3, loader=first)
        expected = [batch.tolist() for batch in batches], [batch.tolist() for batch in first]
    with open_run(folder) as run:
        second = loader()
        assert run.resume(loader=second).batch == 3

    assert ([batch.tolist() for batch in second], [batch.tolist() for batch in second]) == expected
    assert sorted(sample for batch in done + expected[0] for sample in batch) == list(range(12))


def test_inside_an_epoch_a_loader_without_state_says_what_to_skip(folder):
    with open_run(folder) as run:
        run.save_checkpoint(2, batch=3)
    with open_run(folder) as run:
        start = run.resume(loader=torch.utils.data.DataLoader([1, 2]))

    assert (start, start.batch) == (2, 3)
    assert "skip the first 3 batches" in log_of(folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_starts_the_next_epoch_at_a_boundary(tmp_path, workers):
    pytest.importorskip("torchdata")
    options = {"workers": workers, "generator": True, "stateful": True}
    folder = tmp_path / "exp" / "training" / "stopped"
    whole = training.train(tmp_path / "exp" / "training" / "whole", epochs=2, **options)
    training.train(folder, epochs=1, total=2, **options)

    resumed = training.train(folder, epochs=2, **options)

    assert resumed.start == 1
    assert equal_states(whole.model, resumed.model)


def test_a_stateful_loader_that_was_left_early_starts_over(folder):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")

    def loader():
        return loaders.StatefulDataLoader(list(range(8)), batch_size=2)

    with open_run(folder) as run:
        first = loader()
        next(iter(first))
        run.save_checkpoint(0, loader=first)
    with open_run(folder) as run:
        second = loader()
        run.resume(loader=second)

    assert [batch.tolist() for batch in second] == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_all_random_generators_continue_where_they_were(folder):
    def draw():
        return random.random(), np.random.rand(), torch.rand(()).item()

    generator = torch.Generator().manual_seed(7)
    loader = torch.utils.data.DataLoader([1, 2], generator=generator)
    with open_run(folder) as run:
        np.random.randn()  # leaves a second normal number waiting
        random.gauss(0, 1)
        run.save_checkpoint(0, loader=loader)
        expected = draw(), np.random.randn(), torch.rand((), generator=generator).item()
    with open_run(folder) as run:
        draw()
        run.resume(loader=loader)

    assert (draw(), np.random.randn(), torch.rand((), generator=generator).item()) == expected


def test_a_new_run_starts_at_zero(folder):
    model, optimizer = small()
    with open_run(folder) as run:
        start = run.resume(model=model, optimizer=optimizer, scheduler=None, best_loss=9.0)

    assert start == 0
    assert start.batch == 0
    assert start.extra == {"best_loss": 9.0}


def test_plain_values_and_further_objects_come_back_by_name(folder):
    model, optimizer = small()
    with open_run(folder) as run:
        step(model, optimizer)
        run.save_checkpoint(
            3, model=model, teacher=model, best_loss=np.float32(0.5), history=[1, 2], note=None
        )
    teacher, _ = small(1)
    with open_run(folder) as run:
        start = run.resume(teacher=teacher, model=small()[0], best_loss=1.0)

    assert start == 4
    assert start.extra == {"best_loss": 0.5, "history": [1, 2]}
    assert equal_states(teacher.state_dict(), model.state_dict())


def test_metrics_after_the_checkpoint_are_cut_even_if_they_count_batches(folder):
    with open_run(folder) as run:
        run.log_metrics({"loss": 3.0}, step=100)
        run.save_checkpoint(0)
        run.log_metrics({"loss": 2.0}, step=101)
        run.close("interrupted")
    with open_run(folder) as run:
        run.resume()

    assert metric_lines(folder) == [(100, {"loss": 3.0})]


def test_metrics_of_a_run_without_checkpoint_are_forgotten(folder):
    with open_run(folder) as run:
        run.log_metrics({"loss": 3.0}, step=0)
        run.close("interrupted")
    with open_run(folder) as run:
        assert run.resume() == 0

    assert metric_lines(folder) == []


def test_another_rank_reads_the_weights_and_has_random_streams_of_its_own(folder):
    model, _ = small()
    with open_run(folder) as run:
        run.save_checkpoint(0, model=model)
        expected = torch.rand(3)
    before = files(folder)
    streams = []
    for _ in range(2):
        other, _ = small(1)
        with Bookkeeping(folder, rank=1) as run:
            assert run.resume(model=other) == 1
            streams.append(torch.rand(3))
            run.save_checkpoint(1, model=other)

    assert equal_states(model.state_dict(), other.state_dict())
    assert torch.equal(*streams)
    assert not torch.equal(streams[0], expected)
    assert files(folder) == before


def test_another_rank_that_resumes_draws_what_one_that_was_not_stopped_draws(folder):
    def drawn(epochs):
        model, _ = small()
        torch.manual_seed(7)
        loader = torch.utils.data.DataLoader(
            range(6), 2, shuffle=True, generator=torch.Generator().manual_seed(8)
        )
        with Bookkeeping(folder, rank=1) as run:
            start = run.resume(model=model, loader=loader)
            for epoch in range(start, epochs):
                batches = [batch.tolist() for batch in loader]
                yield epoch, batches, torch.rand(2).tolist(), random.random()
                run.save_checkpoint(epoch, model=model, loader=loader)

    undisturbed = [*drawn(4)]
    with open_run(folder) as run:  # rank 0, up to the second epoch
        run.save_checkpoint(1, model=small()[0])

    assert [*drawn(4)] == undisturbed[2:]
    assert len({str(draws) for _, *draws in undisturbed}) == 4


# --- damage ----------------------------------------------------------------------------------


def two_checkpoints(folder):
    model, optimizer = small()
    with open_run(folder, keep_last=2) as run:
        for epoch in range(2):
            step(model, optimizer)
            run.log_metrics({"loss": 1.0}, step=epoch)
            run.save_checkpoint(epoch, model=model, optimizer=optimizer)
        run.close("interrupted")
    return folder / "states" / "epoch_0001.pt"


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_bits(path):
    data = bytearray(path.read_bytes())
    for position in range(50, len(data), 100):  # a single one may hit padding
        data[position] ^= 1
    path.write_bytes(data)


def overwrite(path):
    path.write_bytes(b"not a zip file")


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_bits, overwrite, empty])
def test_a_damaged_checkpoint_is_reported_once_and_passed_over(folder, damage):
    damage(two_checkpoints(folder))
    for _ in range(2):
        model, optimizer = small()
        with open_run(folder, keep_last=2) as run:
            assert run.resume(model=model, optimizer=optimizer) == 1

    assert log_of(folder).count("epoch_0001.pt.damaged") == 1
    assert files(folder) == ["epoch_0000.pt", "epoch_0001.pt.damaged"]
    assert metric_lines(folder) == [(0, {"loss": 1.0})]


def test_where_all_checkpoints_are_damaged_the_run_starts_at_zero(folder):
    two_checkpoints(folder)
    for path in (folder / "states").iterdir():
        truncate(path)
    with open_run(folder) as run:
        assert run.resume(model=small()[0]) == 0

    assert "could be read: the run starts over, at epoch 0" in log_of(folder)


def test_no_flipped_bit_goes_unnoticed(tmp_path):
    from expkit_bookkeeping._files.torch_archives import DamagedFileError, read_torch, write_torch

    path = tmp_path / "content.pt"
    content = {"weights": torch.arange(20.0), "epoch": 7, "name": "run"}
    write_torch(path, content)
    data = path.read_bytes()
    unnoticed = []
    for position in range(0, len(data), 2):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            back = read_torch(path)
        except DamagedFileError:
            continue
        if repr(back) != repr(content):  # a bit of the padding changes nothing
            unnoticed.append(position)

    assert unnoticed == []


def test_a_checkpoint_of_another_model_is_an_error_and_stays(folder):
    two_checkpoints(folder)
    other = nn.Linear(7, 7)
    with (
        pytest.raises(RuntimeError, match="Missing key") as caught,
        open_run(folder) as run,
    ):
        run.resume(model=other)

    # In the text itself, as a note is in tracebacks only.
    newest = folder / "states" / "epoch_0001.pt"
    assert str(caught.value).startswith(f"model was not restored from {newest}: Error(s) in")
    assert read_run(folder).error["message"] == str(caught.value)
    assert "expkit.fresh=true" in caught.value.__notes__[0]
    assert files(folder) == ["epoch_0000.pt", "epoch_0001.pt"]


def test_what_resume_is_not_given_is_named(folder):
    two_checkpoints(folder)
    with open_run(folder) as run:
        run.resume(model=small()[0])

    assert "also holds the state of optimizer" in log_of(folder)


def test_a_file_of_another_program_is_passed_over(folder):
    two_checkpoints(folder)
    torch.save({"state_dict": {}}, folder / "states" / "epoch_0009.pt")
    with open_run(folder) as run:
        assert run.resume() == 2

    assert "epoch_0009.pt is no checkpoint of save_checkpoint()" in log_of(folder)


# --- what is kept ----------------------------------------------------------------------------


def save_all(folder, values, **expkit):
    with open_run(folder, **expkit) as run:
        for epoch, value in enumerate(values):
            if value is not None:
                run.log_metrics({"accuracy": value}, step=epoch)
            run.save_checkpoint(epoch, value=value)


def best_epoch(folder):
    return torch.load(folder / "states" / "best.pt", weights_only=True)["epoch"]


def test_by_default_the_last_two_and_the_best_are_kept(folder):
    save_all(folder, [0.1, 0.5, 0.3, 0.2, 0.4], metric="accuracy")

    assert files(folder) == ["best.pt", "epoch_0001.pt", "epoch_0003.pt", "epoch_0004.pt"]
    assert best_epoch(folder) == 1
    assert (folder / "states" / "best.pt").stat().st_nlink == 2  # no second copy on the disk


def test_the_smallest_is_the_best_where_the_metric_is_minimized(folder):
    save_all(folder, [0.5, 0.1, 0.3], metric="accuracy", direction="minimize")

    assert best_epoch(folder) == 1


def test_the_best_model_is_loaded_by_that_name(folder):
    model, optimizer = small()
    with open_run(folder, metric="accuracy") as run:
        for epoch, accuracy in enumerate([0.9, 0.1]):
            nn.init.constant_(model[0].weight, epoch)
            run.log_metrics({"accuracy": accuracy}, step=epoch)
            run.save_checkpoint(epoch, model=model, optimizer=optimizer)
        best, last = run.load_model(small()[0], "best"), run.load_model(small()[0], "epoch_0001")
        run.load_optimizer(optimizer, "best")
        with pytest.raises(ValueError, match=r"without a state of scheduler; it has model, opt"):
            run.load_scheduler(optimizer, "best")

    assert (best[0].weight[0, 0].item(), last[0].weight[0, 0].item()) == (0, 1)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "No metric is set that would rank checkpoints: name one before training, "),
        ({"metric": "accuracy"}, "No checkpoint has a value of the metric 'accuracy': log it"),
        ({"metric": "accuracy", "keep_best": 0}, "None is kept, as expkit.keep_best is 0"),
    ],
)
def test_where_there_is_no_best_checkpoint_it_says_why_and_what_to_load(folder, settings, why):
    with open_run(folder, **settings) as run:
        with pytest.raises(FileNotFoundError) as nothing:
            run.load_model(small()[0], "best")
        run.save_checkpoint(3, model=small()[0])
        with pytest.raises(FileNotFoundError) as caught:
            run.load_model(small()[0], "best")

    assert why in str(nothing.value)
    assert "or load" not in str(nothing.value)
    assert why in str(caught.value)
    assert "; or load the last, 'epoch_0003'. There are: epoch_0003.pt." in str(caught.value)


def test_of_equals_the_first_is_the_best_and_nan_never(folder):
    save_all(folder, [math.nan, 0.5, 0.5, math.nan], metric="accuracy")

    assert best_epoch(folder) == 1


def test_an_epoch_without_evaluation_is_not_ranked_by_an_old_value(folder):
    save_all(folder, [0.5, None, None], metric="accuracy", keep_last=1, keep_best=5)

    assert files(folder) == ["best.pt", "epoch_0000.pt", "epoch_0002.pt"]


def test_the_best_is_known_after_a_restart(folder):
    save_all(folder, [0.1, 0.9], metric="accuracy")
    with open_run(folder, metric="accuracy") as run:
        assert run.resume() == 2
        run.log_metrics({"accuracy": 0.5}, step=2)
        run.save_checkpoint(2)

    assert files(folder) == ["best.pt", "epoch_0001.pt", "epoch_0002.pt"]
    assert best_epoch(folder) == 1


def test_more_of_the_last_and_the_best_are_kept_on_request(folder):
    save_all(folder, [0.9, 0.1, 0.8, 0.2, 0.3], metric="accuracy", keep_last=2, keep_best=2)

    assert files(folder) == [
        "best.pt",
        "epoch_0000.pt",
        "epoch_0002.pt",
        "epoch_0003.pt",
        "epoch_0004.pt",
    ]


def test_null_keeps_all(folder):
    save_all(folder, [0.1, 0.2, 0.3], keep_last=None)

    assert files(folder) == ["epoch_0000.pt", "epoch_0001.pt", "epoch_0002.pt"]


def test_without_hard_links_the_best_is_a_copy(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError("this file system has no links")

    import expkit_bookkeeping._checkpoints.writing as writing

    with open_run(folder, metric="accuracy") as run:
        monkeypatch.setattr(writing.os, "link", refuse)
        for epoch, value in enumerate([0.9, 0.5]):
            run.log_metrics({"accuracy": value}, step=epoch)
            run.save_checkpoint(epoch)
        monkeypatch.undo()

    assert best_epoch(folder) == 0
    assert (folder / "states" / "best.pt").stat().st_nlink == 1


def test_a_metric_that_is_never_logged_is_named_once(folder):
    with open_run(folder, metric="val_acuracy") as run:
        for epoch in range(3):
            run.log_metrics({"val_accuracy": 0.5}, step=epoch)
            run.save_checkpoint(epoch)

    assert log_of(folder).count("Did you mean 'val_accuracy'?") == 1


def test_a_run_restarted_without_resume_does_not_delete_what_was_trained(folder):
    save_all(folder, [0.1] * 6, keep_last=1)
    save_all(folder, [0.1], keep_last=1)

    assert files(folder) == ["epoch_0000.pt", "epoch_0005.pt.replaced"]
    assert "To continue a run, call resume() first" in log_of(folder)


def test_left_over_temporary_files_are_removed_by_the_next_attempt(folder):
    two_checkpoints(folder)
    (folder / "states" / ".epoch_0002.pt.0123456789ab.tmp").write_bytes(b"half")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "pid": 0}))  # another process's
    with open_run(folder) as run:
        run.resume()

    assert files(folder) == ["epoch_0000.pt", "epoch_0001.pt"]


def test_a_disk_that_refuses_the_file_leaves_the_old_ones(folder):
    two_checkpoints(folder)
    model = nn.Linear(2000, 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open_run(folder) as run:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(OSError, match=r"MB are free there.*untouched.*epoch_0002\.pt"):
                run.save_checkpoint(2, model=model)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)

    assert files(folder) == ["epoch_0000.pt", "epoch_0001.pt"]


def test_an_error_of_torch_that_is_not_the_disks_is_raised_as_it_is(folder):
    numbers = torch.zeros(8)
    with (
        open_run(folder) as run,
        pytest.raises(RuntimeError, match="view the same data as different types"),
    ):
        run.save_checkpoint(0, floats=numbers, integers=numbers.view(torch.int32))

    assert files(folder) == []


@pytest.mark.parametrize("background", [False, True])
def test_the_metrics_the_file_and_its_name_are_on_the_disk_when_it_is_saved(
    folder, monkeypatch, background
):
    synced = {}  # sizes by file
    sync = os.fsync

    def remember(fd):
        state = os.fstat(fd)
        sync(fd)
        synced[state.st_ino] = state.st_size

    with open_run(folder) as run:
        for epoch in range(3):
            run.log_metrics({"loss": 1.0}, step=epoch)
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", remember)
                path = run.save_checkpoint(epoch, background=background)
                run.wait_for_checkpoint()
            for file in (folder / "metrics.jsonl", path):
                assert synced[file.stat().st_ino] == file.stat().st_size
            assert path.parent.stat().st_ino in synced
            synced.clear()


@pytest.mark.parametrize("call", ["sync_file_range", "fdatasync", "none"])
def test_a_large_file_is_whole_however_its_parts_are_sent_ahead(folder, monkeypatch, call):
    from expkit_bookkeeping._files import writeback

    if call != "sync_file_range":
        monkeypatch.setattr(writeback.sys, "platform", "freebsd14")
    if call == "none":
        monkeypatch.delattr(os, "fdatasync", raising=False)
    writeback._writeback.cache_clear()
    weight = torch.rand(10_000_000)
    with open_run(folder) as run:
        path = run.save_checkpoint(0, weight=weight)
    monkeypatch.undo()
    writeback._writeback.cache_clear()

    assert torch.equal(torch.load(path, weights_only=True)["extra"]["weight"], weight)


def test_an_error_of_sending_ahead_is_raised_and_the_file_not_published(folder, monkeypatch):
    from expkit_bookkeeping._files import writeback

    def refuse(fd, start, size):
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(writeback, "_writeback", lambda: (refuse, 1))
    with open_run(folder) as run:
        with pytest.raises(OSError, match="the disk is gone"):
            run.save_checkpoint(0, weight=torch.rand(10_000_000))
        monkeypatch.undo()

    assert files(folder) == []


def test_a_file_is_written_where_no_thread_can_be_started(tmp_path, monkeypatch):
    from expkit_bookkeeping._files.writeback import early_writeback

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    path, calls = tmp_path / "file", []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with early_writeback(path, lambda: calls.append("first")):
        path.write_bytes(b"content")

    assert calls == ["first"]
    assert path.read_bytes() == b"content"


def test_a_kill_at_any_moment_leaves_a_valid_checkpoint(tmp_path):
    delays_s = {tmp_path / "exp" / "training" / str(delay_s): delay_s for delay_s in (0.02, 0.2)}
    with subprocess.Popen(
        [sys.executable, TRAINING, "save", *delays_s], stdout=subprocess.PIPE, text=True
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
        assert model.weight[0, 0] == start - 1
        assert "damaged" not in log_of(folder)


# --- wrapped models --------------------------------------------------------------------------


def test_a_compiled_model_is_saved_without_its_wrapper(folder):
    model, _ = small()
    compiled = torch.compile(model)
    plain, _ = small(1)
    with open_run(folder) as run:
        run.save_checkpoint(0, model=compiled)
        content = torch.load(folder / "states" / "epoch_0000.pt", weights_only=True)
        run.resume(model=plain)

    assert list(content["states"]["model"]) == list(model.state_dict())
    assert equal_states(plain.state_dict(), model.state_dict())


def test_a_plain_checkpoint_is_loaded_into_a_model_with_compiled_parts(folder):
    model, _ = small()
    partly, _ = small(1)
    partly[0] = torch.compile(partly[0])
    with open_run(folder) as run:
        run.save_model(model)
        run.load_model(partly)
        path = run.save_model(partly, "partly")

    assert torch.equal(partly[0].weight, model[0].weight)
    assert list(torch.load(path, weights_only=True)) == list(model.state_dict())


def test_a_distributed_model_is_saved_without_its_wrapper(folder, tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        model, _ = small()
        wrapped = nn.parallel.DistributedDataParallel(model)
        other = nn.parallel.DistributedDataParallel(small(1)[0])
        with open_run(folder) as run:
            path = run.save_model(wrapped)
            run.load_model(other)
    finally:
        torch.distributed.destroy_process_group()

    assert list(torch.load(path, weights_only=True)) == list(model.state_dict())
    assert equal_states(other.module.state_dict(), model.state_dict())


@pytest.mark.gpu
def test_cuda_random_states_continue_where_they_were(folder):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.rand(1, device="cuda")
    with open_run(folder) as run:
        run.save_checkpoint(0)
        expected = torch.rand(3, device="cuda")
        run.resume()

    assert torch.equal(torch.rand(3, device="cuda"), expected)


def test_random_states_of_devices_that_are_not_here_are_reported(folder):
    with open_run(folder) as run:
        path = run.save_checkpoint(0)
        content = torch.load(path, weights_only=True)
        here = torch.cuda.device_count() if torch.cuda.is_available() else 0
        state = content["rng"]["torch"] if not here else torch.cuda.get_rng_state()
        content["rng"]["cuda"] = [state] * (here + 2)
        torch.save(content, path)
        assert run.resume() == 1

    assert f"{here + 2} CUDA devices, and there are {here} here: {here} restored" in log_of(folder)
