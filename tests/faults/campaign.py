"""The fault campaign: a grid killed again and again ends as one that nobody touched.

The example's grid runs once undisturbed. Then the same command is started again and again while
faults strike at random moments, until it says that nothing is left. Prints one table of faults
and one of invariants; the exit code is 1 if an invariant is broken.

    nox -s faults -- --kills 40 --seed 7 --n-jobs 2
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from faults.invariants import Evidence, broken, runs
from faults.kinds import FAULTS, Fault
from faults.process_tree import Process, working_in

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENT = Path("results", "digits")
MOST_RESTARTS = 10  # without faults, until nothing is left
PATIENCE_S = 120.0  # for a sweep to end after a signal, or undisturbed
RUNS = 6  # of the grid below
WINDOW_S = 1.5  # a fault strikes within it: about as long as one run trains
FIRST_PART = 0.15  # of the faults strike while the sweep starts,
LAST_PART = 0.85  # and those after this part when all runs are completed: results, figures, sync


@dataclass
class Attempt:
    """One start of the sweep: what it printed, and how it ended."""

    started: float
    output: Path
    code: int | None = None
    faults: list[Fault] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What it printed."""
        return self.output.read_text(errors="replace")

    @property
    def is_done(self) -> bool:
        """Whether it said that nothing is left."""
        return self.code == 0 and "nothing to do" in self.text


class Sweep:
    """A copy of the example in a folder of its own, and the one command that runs its grid."""

    def __init__(self, folder: Path, *, epochs: int, n_jobs: int) -> None:
        self.folder = folder
        self.experiment = folder / EXPERIMENT
        self.attempts: list[Attempt] = []
        self._command = [
            sys.executable, "examples/digits.py", "-m",
            # Small epochs: a random moment then falls into writing as often as into training.
            f"epochs={epochs}", "batch_size=256",
            "hydra.sweeper.params.seed=[1]", f"hydra.launcher.n_jobs={n_jobs}",
        ]  # fmt: skip
        for name in ("examples", "conf"):
            shutil.copytree(REPOSITORY / name, folder / name)

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """The running sweep; waits for its end."""
        output = self.folder / f"attempt_{len(self.attempts) + 1:03d}.txt"
        attempt = Attempt(time.time(), output)
        self.attempts.append(attempt)
        with output.open("wb") as file:
            process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "140"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, as from a shell
                # In the background of a script this process ignores Ctrl-C, which is inherited.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
            try:
                yield process
                process.wait(PATIENCE_S)
            finally:
                process.kill()
                attempt.code = process.wait()

    def run(self) -> Attempt:
        """Start it and wait for its end."""
        with self.started():
            pass
        return self.attempts[-1]

    def wait_until_alone(self) -> None:
        """Wait for what the killed sweeps left behind: it has to end by itself."""
        deadline = time.monotonic() + PATIENCE_S
        while left := working_in(self.folder):
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes left behind: {[each.command for each in left]}")
            time.sleep(0.1)


class Campaign:
    """Faults at random moments, each kind as often as the others."""

    def __init__(self, sweep: Sweep, *, kills: int, seed: int, startup_s: float) -> None:
        self._sweep = sweep
        self._kills = kills
        self._random = random.Random(seed)
        self._startup_s = startup_s
        self.struck: Counter[Fault] = Counter()
        self.codes: dict[Fault, Counter[int]] = {}
        self.completed: dict[str, dict[str, object]] = {}

    def run(self) -> None:
        """Disturb the sweep until all faults are spent or nothing is left, then let it end."""
        while self.struck.total() < self._kills:
            self._attempt()
            self._remember_completed()
            if self._sweep.attempts[-1].is_done:
                break
        self._sweep.wait_until_alone()
        for _ in range(MOST_RESTARTS):
            if self._sweep.run().is_done:
                break
            self._remember_completed()
        self._sweep.wait_until_alone()

    def _attempt(self) -> None:
        with self._sweep.started() as process:
            struck = self._sweep.attempts[-1].faults
            moment = self._moment()
            while self.struck.total() < self._kills and self._wait(process, moment):
                fault, victims = self._choose(process.pid)
                fault.strike(process.pid, victims)
                struck.append(fault)
                self.struck[fault] += 1
                if fault.ends_sweep:
                    break
        if struck:
            self.codes.setdefault(struck[-1], Counter())[self._sweep.attempts[-1].code] += 1

    def _moment(self) -> Callable[[], bool]:
        """When the next attempt is struck: while it starts, trains, or draws and writes."""
        started = time.time()
        if self.struck.total() >= LAST_PART * self._kills:
            return self._all_are_completed
        if self._random.random() < FIRST_PART:
            start_s = self._random.uniform(0.1, self._startup_s)
            return lambda: time.time() > started + start_s
        checkpoints = self._sweep.experiment / "training"
        return lambda: any(
            path.stat().st_mtime > started for path in checkpoints.glob("*/states/epoch_*.pt")
        )

    def _wait(self, process: subprocess.Popen[bytes], moment: Callable[[], bool]) -> bool:
        """Wait for a random time after the moment; False where the sweep ended before."""
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(FileNotFoundError):  # a checkpoint that was replaced
                if moment():
                    break
            time.sleep(0.02)
        with suppress(subprocess.TimeoutExpired):
            process.wait(self._random.uniform(0.0, WINDOW_S))
        return process.returncode is None

    def _all_are_completed(self) -> bool:
        found = runs(self._sweep.experiment).values()
        return len(found) == RUNS and all(run["state"] == "completed" for run in found)

    def _choose(self, sweep: int) -> tuple[Fault, list[Process]]:
        """The rarest of the faults that can happen now, and one victim where it wants one."""
        possible = []
        for fault in FAULTS:
            victims = fault.victims(sweep)
            if victims or fault.ends_sweep:
                possible.append((fault, victims))
        self._random.shuffle(possible)
        fault, victims = min(possible, key=lambda each: self.struck[each[0]])
        return fault, victims if fault.ends_sweep else [self._random.choice(victims)]

    def _remember_completed(self) -> None:
        for name, run in runs(self._sweep.experiment).items():
            if run["state"] == "completed":
                self.completed.setdefault(name, run)


def surprises(sweep: Sweep) -> list[str]:
    """Ends that no signal explains: another exit code than 0 (1 where a child was killed)."""
    found = []
    for number, attempt in enumerate(sweep.attempts, start=1):
        if any(fault.ends_sweep for fault in attempt.faults):
            continue
        allowed = (0, 1) if attempt.faults else (0,)
        if attempt.code not in allowed or "Traceback" in attempt.text:
            found.append(f"attempt {number} ended with {attempt.code}: …{attempt.text[-300:]!r}")
    if not sweep.attempts[-1].is_done:
        found.append(f"something is left after {MOST_RESTARTS} starts without faults")
    return found


def disturb(
    undisturbed: Sweep, folder: Path, *, kills: int, seed: int, n_jobs: int, epochs: int
) -> dict[str, list[str]]:
    """One campaign against one number of processes; prints its table, returns the verdicts."""
    sweep = Sweep(folder, epochs=epochs, n_jobs=n_jobs)
    started = time.monotonic()
    campaign = Campaign(sweep, kills=kills, seed=seed, startup_s=duration_s(undisturbed))
    campaign.run()
    rows = [
        (
            fault.name,
            str(campaign.struck[fault]),
            ", ".join(
                f"{code} ×{count}" for code, count in sorted(campaign.codes.get(fault, {}).items())
            ),
        )
        for fault in FAULTS
    ]
    attempts = ", ".join(str(run["attempt"]) for run in runs(sweep.experiment).values())
    print(
        f"\nn_jobs={n_jobs}: {campaign.struck.total()} faults in {len(sweep.attempts)} starts of "
        f"one command, {time.monotonic() - started:.0f} s; attempts of the runs: {attempts}"
    )
    print_table(("fault", "count", "exit codes of the starts that it ended"), rows)
    seen = Evidence(
        undisturbed=undisturbed.experiment,
        disturbed=sweep.experiment,
        epochs=epochs,
        last_start=sweep.attempts[-1].started,
        completed=campaign.completed,
    )
    return {"no start ends unexpectedly": surprises(sweep), **broken(seen)}


def duration_s(undisturbed: Sweep) -> float:
    """How long the command takes when nothing is left: imports, composition, a look around."""
    started = time.monotonic()
    if not undisturbed.run().is_done:
        raise SystemExit(f"The undisturbed grid did not end:\n{undisturbed.attempts[-1].text}")
    return time.monotonic() - started


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, ["─" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  " + "   ".join(cells).rstrip(), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; 1 if an invariant is broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=18, metavar="N", help="faults, in all")
    parser.add_argument("--seed", type=int, help="of the moments; a new one by default")
    parser.add_argument("--n-jobs", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--epochs", type=int, default=40, help="of each of the six runs")
    parser.add_argument("--folder", type=Path, help="where to run; kept, must be new")
    options = parser.parse_args(argv)
    seed = options.seed if options.seed is not None else random.randrange(10_000)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="expkit-faults-"))
    folder = folder.resolve()  # as the working directory in /proc
    print(f"seed {seed}, in {folder}", flush=True)

    undisturbed = Sweep(folder / "undisturbed", epochs=options.epochs, n_jobs=1)
    undisturbed.run()
    wrong = 0
    for position, n_jobs in enumerate(options.n_jobs):
        verdicts = disturb(
            undisturbed,
            folder / f"n_jobs_{n_jobs}",
            kills=len(range(position, options.kills, len(options.n_jobs))),
            seed=seed + position,
            n_jobs=n_jobs,
            epochs=options.epochs,
        )
        print()
        rows = [(name, "BROKEN" if against else "holds") for name, against in verdicts.items()]
        print_table(("invariant", ""), rows)
        for name, against in verdicts.items():
            wrong += bool(against)
            for text in against:
                print(f"{name}: {text}", file=sys.stderr)
    if wrong:
        print(f"{wrong} invariants are broken; what happened is in {folder}", file=sys.stderr)
        return 1
    if options.folder is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
