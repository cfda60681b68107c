"""A grid of the example's that is killed again and again, until it says that nothing is left."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from faults.invariants import runs
from faults.kinds import FAULTS, Fault
from faults.process_tree import Process, working_in
from workspace import REPOSITORY

EXPERIMENT = Path("results", "digits")
MOST_RESTARTS = 10  # without faults, until nothing is left to do
TIMEOUT_S = 120.0  # for a sweep to end after a signal, or undisturbed
RUNS = 6  # of the grid below
WINDOW_S = 1.5  # within which a fault strikes: about as long as one run trains
STARTUP_SHARE = 0.15  # of the faults, which strike while the sweep starts
LAST_SHARE = 0.85  # faults after this share wait until all runs are completed: results, sync


@dataclass
class SweepStart:
    """One start of the sweep: its output, and how it ended."""

    started_at: float
    output: Path
    code: int | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The output."""
        return self.output.read_text(errors="replace")

    @property
    def is_done(self) -> bool:
        """Whether it said that nothing is left to do."""
        return self.code == 0 and "nothing to do" in self.text


class Sweep:
    """A copy of the example in a folder of its own, and the one command that runs its grid."""

    def __init__(self, folder: Path, *, epochs: int, n_jobs: int) -> None:
        self.folder = folder
        self.experiment = folder / EXPERIMENT
        self.starts: list[SweepStart] = []
        self._command = [
            sys.executable, "examples/digits.py", "-m",
            # Short epochs: a random moment is then as often one of writing as one of training.
            f"epochs={epochs}", "batch_size=256",
            "hydra.sweeper.params.seed=[1]", f"hydra.launcher.n_jobs={n_jobs}",
        ]  # fmt: skip
        for name in ("examples", "conf"):
            shutil.copytree(REPOSITORY / name, folder / name)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start the sweep and yield its process; waits for the end after the block."""
        output = self.folder / f"start_{len(self.starts) + 1:03d}.txt"
        start = SweepStart(time.time(), output)
        self.starts.append(start)
        with output.open("wb") as file:
            process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "140"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, as from a shell
                # In the background of a script this process ignores Ctrl-C, and children inherit.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
            try:
                yield process
                process.wait(TIMEOUT_S)
            finally:
                process.kill()
                start.code = process.wait()

    def run(self) -> SweepStart:
        """Start the sweep and wait for its end."""
        with self.running():
            pass
        return self.starts[-1]

    def wait_for_orphans(self) -> None:
        """Wait for processes that killed sweeps have left behind: they must end by themselves."""
        deadline = time.monotonic() + TIMEOUT_S
        while orphans := working_in(self.folder):
            if time.monotonic() > deadline:
                commands = [process.command for process in orphans]
                raise TimeoutError(f"processes left behind: {commands}")
            time.sleep(0.1)


class Disturbance:
    """Faults at random moments of a sweep, each kind as often as the others."""

    def __init__(
        self, sweep: Sweep, *, kills: int, chance: random.Random, startup_s: float
    ) -> None:
        self._sweep = sweep
        self._kills = kills
        self._random = chance
        self._startup_s = startup_s
        self.strikes: Counter[Fault] = Counter()
        self.codes: dict[Fault, Counter[int]] = {}
        self.completed: dict[str, dict[str, object]] = {}

    def run(self) -> None:
        """Disturb the sweep until all faults are spent or nothing is left, then let it end."""
        while self.strikes.total() < self._kills:
            self._start_and_strike()
            self._remember_completed()
            if self._sweep.starts[-1].is_done:
                break
        self._sweep.wait_for_orphans()
        for _ in range(MOST_RESTARTS):
            if self._sweep.run().is_done:
                break
            self._remember_completed()
        self._sweep.wait_for_orphans()

    def _start_and_strike(self) -> None:
        with self._sweep.running() as process:
            faults = self._sweep.starts[-1].faults
            has_come = self._moment()
            while self.strikes.total() < self._kills and self._wait(process, has_come):
                fault, victims = self._choose(process.pid)
                fault.strike(process.pid, victims)
                faults.append(fault)
                self.strikes[fault] += 1
                if fault.ends_sweep:
                    break
        if faults:
            self.codes.setdefault(faults[-1], Counter())[self._sweep.starts[-1].code] += 1

    def _moment(self) -> Callable[[], bool]:
        """Whether the moment for a fault has come: during start-up, training, or the end."""
        started_at = time.time()
        if self.strikes.total() >= LAST_SHARE * self._kills:
            return self._all_are_completed
        if self._random.random() < STARTUP_SHARE:
            start_s = self._random.uniform(0.1, self._startup_s)
            return lambda: time.time() > started_at + start_s
        checkpoints = self._sweep.experiment / "training"
        return lambda: any(
            path.stat().st_mtime > started_at for path in checkpoints.glob("*/states/epoch_*.pt")
        )

    def _wait(self, process: subprocess.Popen[bytes], has_come: Callable[[], bool]) -> bool:
        """Wait for a random time after the moment; False if the sweep ends before."""
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(FileNotFoundError):  # a checkpoint that was replaced
                if has_come():
                    break
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self._random.uniform(0.0, WINDOW_S))
        return process.returncode is None

    def _all_are_completed(self) -> bool:
        records = runs(self._sweep.experiment).values()
        return len(records) == RUNS and all(run["state"] == "completed" for run in records)

    def _choose(self, sweep: int) -> tuple[Fault, list[Process]]:
        """The rarest of the faults that can happen now, and its victims: all, or one of them."""
        possible = []
        for fault in FAULTS:
            victims = fault.victims(sweep)
            if victims or fault.ends_sweep:
                possible.append((fault, victims))
        self._random.shuffle(possible)
        fault, victims = min(possible, key=lambda candidate: self.strikes[candidate[0]])
        return fault, victims if fault.ends_sweep else [self._random.choice(victims)]

    def _remember_completed(self) -> None:
        for name, run in runs(self._sweep.experiment).items():
            if run["state"] == "completed":
                self.completed.setdefault(name, run)


def unexpected_ends(sweep: Sweep) -> list[str]:
    """Ends that no signal explains: an exit code other than 0 (or 1 if a child was killed)."""
    sentences = []
    for number, start in enumerate(sweep.starts, start=1):
        if any(fault.ends_sweep for fault in start.faults):
            continue
        allowed = (0, 1) if start.faults else (0,)
        if start.code not in allowed or "Traceback" in start.text:
            sentences.append(f"start {number} ended with {start.code}: …{start.text[-300:]!r}")
    if not sweep.starts[-1].is_done:
        sentences.append(f"something is left to do after {MOST_RESTARTS} starts without faults")
    return sentences


def duration_s(undisturbed: Sweep) -> float:
    """How long the command takes when nothing is left: imports, composition, reading records."""
    start = time.monotonic()
    if not undisturbed.run().is_done:
        raise SystemExit(f"The undisturbed grid did not end:\n{undisturbed.starts[-1].text}")
    return time.monotonic() - start
