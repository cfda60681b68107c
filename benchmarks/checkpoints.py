"""What a checkpoint costs: until it is durable, and for how long the training loop waits for it.

The state is that of a transformer with Adam: 192 to 576 tensors, of which 4 to 12 matrices per
layer are large. Every timed call begins with `state_dict()` and ends when it returns.

"durable" is a call after which a power cut loses nothing. torch.save alone does not promise that:
it writes into the page cache. With fsync the file may be complete but have no name, and a file
that is overwritten is incomplete in the meantime. The last of the three torch.save contenders does
what expkit does for the file: it waits for the disk twice, the bar's peer once. expkit's call also
appends and syncs a line of metrics and has the oldest of three files removed; the others only
write a new file. All files are synced and removed outside the timed part, because otherwise the
next contender would pay for pages that wait for the disk and for freed blocks.

"blocked" is how long the loop waits if a thread writes: each call comes when the last file has
been written, as in a training whose epochs take longer than the disk. Before the call the process
trains one step and then computes in Python for 30 ms, as at the end of an epoch: the cores of a
process that only waits are asleep, and torch's threads spin for 9 ms after a step. "first call ms"
is the call that has no memory to reuse. "peak growth MB" is by how much four calls in a row, which
wait for nothing, raise the process's peak memory. The floor writes nothing: it copies each tensor
into a buffer that it has used before. Each contender has a process of its own.

The files are beside the JSON and not in /tmp, which may be in memory.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from measuring import Bar, Contender, measure, options, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch import Tensor, nn, optim

SHAPES = {10: (128, 4), 100: (296, 8), 1000: (768, 12)}  # MB: width and layers
REPEATS = {10: 31, 100: 15, 1000: 5}
IN_A_ROW = 4
PYTHON_S = 0.03  # at the end of an epoch
OURS, OURS_BACKGROUND = "save_checkpoint", "save_checkpoint(background=True)"
SAVE, SAVE_SYNC, BYTES = "torch.save", "torch.save + fsync", "same bytes + fsync"
SAVE_SAFE = "torch.save + fsync + rename + fsync of the folder"
LIGHTNING, COPY = "Lightning AsyncCheckpointIO", "copy into a reused buffer"


def training(megabytes: int) -> "tuple[nn.Module, optim.Optimizer]":
    """A model and its optimizer after one step, whose states together have that size."""
    import torch

    width, layers = SHAPES[megabytes]
    layer = torch.nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, layers)
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


def end_an_epoch(model: "nn.Module", optimizer: "optim.Optimizer", megabytes: int) -> None:
    """Leave caches and threads as a training does: a step, then work in Python."""
    import torch

    model(torch.rand(4, 16, SHAPES[megabytes][0])).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    end = time.perf_counter() + PYTHON_S
    while time.perf_counter() < end:
        json.loads(json.dumps([{"step": step, "metrics": [step] * 5} for step in range(300)]))


class Durable:
    """Ways to save a state, with and without waiting for the disk."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        from expkit_bookkeeping import Bookkeeping

        self.folder = folder
        self.model, self.optimizer = training(megabytes)
        self.run = Bookkeeping(folder / "digits" / "training" / "run", console=False).open()
        self.epoch = 0
        self.bytes = bytes(self.save_checkpoint_file().stat().st_size)

    def state(self) -> dict[str, object]:
        """The state that torch.save gets."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def save_checkpoint_file(self) -> Path:
        """One epoch's end with expkit."""
        self.epoch += 1
        self.run.log_metrics({"loss": 1 / self.epoch}, step=self.epoch)
        return self.run.save_checkpoint(self.epoch, model=self.model, optimizer=self.optimizer)

    def expkit(self) -> float:
        """Milliseconds of expkit's call, which removes the oldest file itself."""
        start = time.perf_counter()
        self.save_checkpoint_file()
        return 1e3 * (time.perf_counter() - start)

    def torch_save(self, *, sync: bool, move: bool = False) -> float:
        """Milliseconds of torch.save, which does not wait for the disk, and of the waits."""
        import torch

        path = self.folder / "checkpoint.pt"
        start = time.perf_counter()
        torch.save(self.state(), path)
        if sync:
            sync_file(path)
        if move:
            path = path.rename(path.with_suffix(".moved"))
            sync_folder(path.parent)
        elapsed_s = time.perf_counter() - start
        remove(path)
        return 1e3 * elapsed_s

    def write_bytes(self) -> float:
        """Milliseconds that the disk alone takes."""
        path = self.folder / "bytes"
        start = time.perf_counter()
        with path.open("wb", buffering=0) as file:
            view = memoryview(self.bytes)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        elapsed_s = time.perf_counter() - start
        remove(path)
        return 1e3 * elapsed_s


def sync_file(path: Path) -> None:
    """Wait until a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file so that the next contender pays nothing for it."""
    sync_file(path)
    path.unlink()
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


# Two functions that run in a process of their own: one saves, one waits for the file.
Saver = tuple[Callable[[], object], Callable[[], object]]


def save_in_background(folder: Path, model: "nn.Module", optimizer: "optim.Optimizer") -> Saver:
    """The background thread of expkit."""
    from expkit_bookkeeping import Bookkeeping

    run = Bookkeeping(folder / "digits" / "training" / "run", console=False).open()
    epochs = iter(range(1_000_000))

    def save() -> None:
        run.save_checkpoint(next(epochs), model=model, optimizer=optimizer, background=True)

    return save, run.wait_for_checkpoint


def save_with_lightning(folder: Path, model: "nn.Module", optimizer: "optim.Optimizer") -> Saver:
    """Lightning's thread, with its usual writer."""
    from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO

    plugin = AsyncCheckpointIO(TorchCheckpointIO())
    paths = (folder / f"{number}.ckpt" for number in range(1_000_000))

    def save() -> None:
        state = {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        plugin.save_checkpoint(state, next(paths))

    def wait() -> None:
        assert plugin._executor is not None  # there is no other way to wait and continue
        plugin._executor.submit(int).result()
        for path in folder.glob("*.ckpt"):
            remove(path)

    return save, wait


def copy_only(folder: Path, model: "nn.Module", optimizer: "optim.Optimizer") -> Saver:
    """The least that the loop must wait for if it is to continue with these tensors."""
    import torch

    buffers: list[Tensor] = []

    def save() -> None:
        state = [model.state_dict(), optimizer.state_dict()]
        if not buffers:
            buffers.extend(torch.empty_like(tensor) for tensor in tensors(state))
        for buffer, tensor in zip(buffers, tensors(state), strict=True):
            buffer.copy_(tensor)

    return save, lambda: None


def tensors(state: object) -> "Iterator[Tensor]":
    """All tensors of a state, in its order."""
    import torch

    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict):
        for part in state.values():
            yield from tensors(part)
    elif isinstance(state, list):
        for part in state:
            yield from tensors(part)


SAVERS = {OURS_BACKGROUND: save_in_background, LIGHTNING: save_with_lightning, COPY: copy_only}


class Worker:
    """A process that saves on request."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def prepare(self, megabytes: int) -> None:
        """Let it create a state of that size and save it for the first few times."""
        folder = self.folder / f"{megabytes}" / f"{list(SAVERS).index(self.name)}"
        folder.mkdir(parents=True)
        self.figures: dict[str, float] = self.ask([megabytes, str(folder)])

    def measure(self) -> tuple[float, dict[str, float]]:
        """Milliseconds that one call took."""
        value: float = self.ask(None)
        return value, self.figures

    def ask(self, question: object) -> object:
        """Send one line and read one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        """Let the process end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def work(name: str) -> None:
    """Answer the questions of `Worker`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    save, wait, before = (lambda: None), (lambda: None), (lambda: None)
    for line in sys.stdin:
        question = json.loads(line)
        if question is None:
            before()
            answer: object = milliseconds(save)
            wait()
        else:
            megabytes, folder = question
            model, optimizer = training(megabytes)
            before = partial(end_an_epoch, model, optimizer, megabytes)
            save, wait = SAVERS[name](Path(folder), model, optimizer)
            gc.collect()
            answer = first_figures(save, wait)
        print(json.dumps(answer), file=answers, flush=True)


def milliseconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def first_figures(save: Callable[[], object], wait: Callable[[], object]) -> dict[str, float]:
    """Figures of the first calls, which later calls cannot show."""
    import torch

    torch.get_rng_state()
    clear = Path("/proc/self/clear_refs")
    figures = {}
    if clear.exists():
        clear.write_text("5")  # resets the peak
        before_mb = memory_mb("VmHWM")
    figures["first call ms"] = milliseconds(save)
    for _ in range(IN_A_ROW - 1):
        save()
    wait()
    if clear.exists():
        figures["peak growth MB"] = memory_mb("VmHWM") - before_mb
    save()
    wait()
    return figures


def memory_mb(key: str) -> float:
    """A figure of Linux about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{key}:"))
    return int(value) / 1e3


def main() -> None:
    """Measure growing states, first until they are durable, then for how long they block."""
    settings = options(__doc__)
    sizes = [10, 100] if settings.quick else list(SHAPES)
    rows = []
    settings.json.mkdir(parents=True, exist_ok=True)
    for megabytes in sizes:
        repeats = 5 if settings.quick else REPEATS[megabytes]
        with tempfile.TemporaryDirectory(dir=settings.json) as name:
            durable = Durable(Path(name), megabytes)
            contenders = [
                Contender(
                    OURS,
                    durable.expkit,
                    floor=BYTES,
                    peer=SAVE_SYNC,
                    bars=[Bar(at_most=1.1, times=SAVE_SYNC)],
                ),
                Contender(SAVE, partial(durable.torch_save, sync=False), floor=BYTES),
                Contender(SAVE_SYNC, partial(durable.torch_save, sync=True), floor=BYTES),
                Contender(
                    SAVE_SAFE, partial(durable.torch_save, sync=True, move=True), floor=BYTES
                ),
                Contender(BYTES, durable.write_bytes),
            ]
            for contender in contenders:
                contender.measure()  # imports, and touches its first pages
            rows += measure(f"durable, {megabytes:,} MB", contenders, repeats)
            durable.run.close()
            del durable, contenders
            gc.collect()
    with tempfile.TemporaryDirectory(dir=settings.json) as name:
        names = [name for name in SAVERS if name != LIGHTNING or find_spec("lightning")]
        workers = [Worker(saver, Path(name)) for saver in names]
        for megabytes in sizes:
            repeats = 7 if settings.quick else REPEATS[megabytes]
            for worker in workers:
                worker.prepare(megabytes)
            contenders = [
                Contender(
                    worker.name,
                    worker.measure,
                    floor=None if worker.name == COPY else COPY,
                    peer=LIGHTNING if worker.name == OURS_BACKGROUND else None,
                    bars=[
                        Bar(at_most=1.2, times=COPY),
                        Bar(at_most=2.2 * megabytes + 10, figure="peak growth MB"),
                    ]
                    if worker.name == OURS_BACKGROUND
                    else [],
                )
                for worker in workers
            ]
            rows += measure(f"blocked, {megabytes:,} MB", contenders, repeats)
        for worker in workers:
            worker.stop()
    report("checkpoints", "ms", rows, settings.json)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # about nested tensors, in a model that is only saved
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2])
    else:
        main()
