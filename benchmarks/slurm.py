"""A grid of trivial runs on Slurm: until it is queued, what waiting costs, how fast runs follow.

Measured on a private cluster like that of the tests: four nodes that each claim to have two cores,
with accounting, which the peer asks. Up to eight tasks therefore share the machine's real cores.
Without Slurm there is nothing to measure.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Bar, Contender, Row, measure, options, report

OURS, OURS_PACKED = "expkit", "expkit, packed into two tasks"
PEER = "hydra-submitit-launcher"
FLOOR_QUEUED, FLOOR = "floor: sbatch --array", "floor: array of python -c pass"
FLOOR_PACKED = "floor: two tasks that loop over python -c pass"
FLOOR_CPU, FLOOR_HYDRA = "floor: bare Python", "floor: import hydra"
WAITING = "SlurmManager.attach(…).wait()"

FILES, BYTES = "files per run", "bytes per run"
QUERIES, QUERIES_PER_POLL = "squeue and sacct", "queries per poll"
CLUSTER = Path(__file__).parents[1] / "packages/expkit-slurm/tests/slurm_cluster.py"
LIMIT_S = 600.0

# The function first takes the processor time that this process and its children have used so far.
SCRIPT = """
import os
import time
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    used_s = time.process_time() + sum(os.times()[2:4])
    Path(__file__).with_name("used").joinpath(str(cfg.x)).write_text(str(used_s))


if __name__ == "__main__":
    main()
"""
KEYS = "x: 0\nlr: 0.1\nmemory: 100M\n"
OURS_CONFIG = f"defaults: [expkit, _self_]\nexperiment_id: sweep\n{KEYS}"
PEER_CONFIG = f"""
defaults: [_self_, override hydra/launcher: submitit_slurm]
{KEYS}
hydra:
  sweep: {{dir: results}}
  launcher:
    mem_gb: 1  # otherwise each task gets a node's whole memory, and runs wait for each other
"""
APPS = {
    OURS: (OURS_CONFIG, ["hydra/launcher=expkit_slurm"]),
    OURS_PACKED: (OURS_CONFIG, ["hydra/launcher=expkit_slurm"]),
    PEER: (PEER_CONFIG, []),
}
WAIT_SCRIPT = """
import json
import sys

from expkit_slurm import SlurmManager

polls = []
statuses = SlurmManager.attach(sys.argv[1]).wait(show=polls.append)
print(json.dumps([len(polls), sum(status.state == "completed" for status in statuses)]))
"""
# Records each query and the process that made it; for sbatch, what the folder held before and when
# it was done.
WRAPPER = """#!/bin/sh
echo "{name} $PPID" >> "{folder}/calls"
exec "{program}" "$@"
"""
SBATCH_WRAPPER = """#!/bin/sh
find "{folder}/app" -type f ! -path "*/__pycache__/*" -printf "%s\\n" > "{folder}/before"
"{program}" "$@"
code=$?
date +%s.%N >> "{folder}/queued"
exit $code
"""


@dataclass(frozen=True)
class Sample:
    """One grid, from the command until its last task has ended."""

    queued_s: float
    makespan_s: float  # per run
    cpu_s: float  # of the submitting process and its children
    before_function_s: float
    counts: Mapping[str, float] = field(default_factory=dict)  # figures that are not times


class ClusterRunner:
    """Runs commands on the cluster and reads from the controller's log what became of them."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._log = cluster.folder / "log" / "slurmctld.log"

    @contextmanager
    def app(self, name: str) -> Iterator[Path]:
        """A folder with an app in `app`, and wrappers of Slurm's commands in `bin`."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for name_of_folder in ("app/conf", "app/used", "bin"):
                (folder / name_of_folder).mkdir(parents=True)
            (folder / "app/train.py").write_text(SCRIPT)
            (folder / "app/conf/config.yaml").write_text(APPS[name][0])
            for command in ("squeue", "sacct", "sbatch"):
                text = SBATCH_WRAPPER if command == "sbatch" else WRAPPER
                program = shutil.which(command)
                path = folder / "bin" / command
                path.write_text(text.format(name=command, folder=folder, program=program))
                path.chmod(0o755)
            yield folder

    def run(self, folder: Path, *arguments: str) -> tuple[int, float, str]:
        """Run Python in the app; returns its process id, its processor time and its output."""
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environ |= self._cluster.environment
        environ["PATH"] = f"{folder / 'bin'}:{environ['PATH']}"
        with (folder / "output").open("w+") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder / "app",
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read()
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}:\n{text}")
        return process.pid, used.ru_utime + used.ru_stime, text

    def sbatch(self, script: str, *arguments: str) -> float:
        """Submit a batch script; returns the seconds that sbatch takes."""
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
            file.write(f"#!/bin/sh\n{script}\n")
            file.flush()
            start = time.perf_counter()
            self._cluster.run("sbatch", "--mem=100M", *arguments, file.name)
            return time.perf_counter() - start

    @contextmanager
    def makespan(self, tasks: int) -> Iterator[dict[str, float]]:
        """Yields a dict whose `s` is, after the block, the seconds from first start to last end."""
        self._cluster.wait_idle()
        offset = self._log.stat().st_size
        makespan: dict[str, float] = {}
        yield makespan
        deadline = time.monotonic() + LIMIT_S
        while len(ends := self._times(offset, "done")) < tasks:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(ends)} of {tasks} tasks ended within {LIMIT_S:g} s")
            time.sleep(0.05)
        makespan["s"] = max(ends) - min(self._times(offset, "start"))

    def _times(self, offset: int, event: str) -> list[float]:
        with self._log.open("rb") as log:
            log.seek(offset)
            text = log.read().decode(errors="replace")
        return [
            datetime.fromisoformat(match[1]).timestamp() for match in _EVENTS[event].finditer(text)
        ]


_EVENTS = {
    "start": re.compile(r"^\[(\S+)\] .*(?:Allocate|Started) JobId=", re.MULTILINE),
    "done": re.compile(r"^\[(\S+)\] _job_complete: JobId=.* done$", re.MULTILINE),
}


def grid(cluster: ClusterRunner, name: str, runs: int) -> Sample:
    """A grid as a user starts it, from the command to its end."""
    is_packed = name == OURS_PACKED
    _, overrides = APPS[name]
    if is_packed:
        overrides = [*overrides, f"hydra.launcher.runs_per_task={-(-runs // 2)}"]
    with cluster.app(name) as folder:
        files, size = _count_and_sum(path.stat().st_size for path in (folder / "app").rglob("*.*"))
        with cluster.makespan(2 if is_packed else runs) as makespan:
            start = time.time()
            pid, cpu_s, output = cluster.run(
                folder, "train.py", "-m", *overrides, f"x=range({runs})"
            )
        used_s = [float(path.read_text()) for path in (folder / "app/used").iterdir()]
        if len(used_s) != runs:
            raise RuntimeError(f"{name}: {len(used_s)} of {runs} runs\n{output}")
        files_at_sbatch, size_at_sbatch = _count_and_sum(
            map(int, (folder / "before").read_text().split())
        )
        counts = {
            FILES: (files_at_sbatch - files) / runs,
            BYTES: (size_at_sbatch - size) / runs,
            QUERIES: float(_count_queries(folder, pid)),
        }
        queued = [float(line) for line in (folder / "queued").read_text().split()]
    return Sample(
        max(queued) - start, makespan["s"] / runs, cpu_s, statistics.median(used_s), counts
    )


def _count_and_sum(sizes: Iterable[int]) -> tuple[int, int]:
    numbers = list(sizes)
    return len(numbers), sum(numbers)


def _count_queries(folder: Path, pid: int) -> int:
    """How often this process asked the queue or the accounting; its tasks ask too."""
    try:
        lines = (folder / "calls").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return sum(line.split()[1] == str(pid) for line in lines)


def floor_array(cluster: ClusterRunner, code: str, tasks: int) -> Sample:
    """An array that runs this Python code, which may print its processor time."""
    with tempfile.TemporaryDirectory() as folder:
        with cluster.makespan(tasks) as makespan:
            queued_s = cluster.sbatch(
                f"exec {sys.executable} -c '{code}'",
                f"--array=0-{tasks - 1}",
                f"--output={folder}/%a" if "print" in code else "--output=/dev/null",
            )
        printed = [float(path.read_text()) for path in Path(folder).iterdir()]
    used_s = statistics.median(printed) if printed else 0.0
    return Sample(queued_s, makespan["s"] / tasks, 0.0, used_s)


def floor_packed(cluster: ClusterRunner, runs: int) -> Sample:
    """Two tasks that start one Python after another."""
    with cluster.makespan(2) as makespan:
        queued_s = cluster.sbatch(
            f"for _ in $(seq {-(-runs // 2)}); do {sys.executable} -c pass; done",
            "--array=0-1",
            "--output=/dev/null",
        )
    return Sample(queued_s, makespan["s"] / runs, 0.0, 0.0)


def waiting(cluster: ClusterRunner, runs: int) -> tuple[float, dict[str, float]]:
    """Processor time of waiting for three arrays, and how often it asks Slurm."""
    with cluster.app(OURS) as folder:
        arguments = [
            "hydra/launcher=expkit_slurm",
            "hydra.launcher.wait=false",
            "hydra.launcher.poll_s=0.5",
            "expkit.after=[]",
            "hydra.launcher.mem=${memory}",  # one array for each value
            "memory=100M,110M,120M",
            f"x=range({runs // 3})",
        ]
        cluster.run(folder, "train.py", "-m", *arguments)
        if len((folder / "queued").read_text().split()) != 3:
            raise RuntimeError("there are not three arrays")
        pid, cpu_s, output = cluster.run(folder, "-c", WAIT_SCRIPT, "results/sweep")
        polls, completed = json.loads(output.splitlines()[-1])
        if completed != runs:
            raise RuntimeError(f"{completed} of {runs} runs\n{output}")
        return cpu_s, {"polls": polls, QUERIES_PER_POLL: _count_queries(folder, pid) / polls}


def take_samples(
    jobs: Mapping[str, tuple[Callable[[], Sample], int]],
) -> dict[str, list[Sample]]:
    """Measure each job as often as it says, in turns and in another order in each round."""
    samples: dict[str, list[Sample]] = {name: [] for name in jobs}
    order = random.Random(0)
    for number in range(max(repeats for _, repeats in jobs.values())):
        for name in order.sample(list(jobs), len(jobs)):
            job, repeats = jobs[name]
            if number < repeats:
                samples[name].append(job())
    return samples


def one_case(
    case: str,
    samples: Mapping[str, Sequence[Sample]],
    value: Callable[[Sample], float],
    *contenders: Contender,
    figures: Sequence[str] = (),
) -> list[Row]:
    """One figure of the samples as a case; the contenders' names select the samples."""

    def replay(own_samples: Sequence[Sample]) -> Callable[[], tuple[float, dict[str, float]]]:
        values = iter(
            [
                (
                    value(sample),
                    {name: count for name, count in sample.counts.items() if name in figures},
                )
                for sample in own_samples
            ]
        )
        return partial(next, values)

    sampled = [contender for contender in contenders if samples.get(contender.name)]
    return measure(
        case,
        [
            Contender(
                contender.name,
                replay(samples[contender.name]),
                contender.floor,
                contender.peer,
                contender.bars,
                repeats=len(samples[contender.name]),
            )
            for contender in sampled
        ],
        max(len(samples[contender.name]) for contender in sampled),
    )


def cases(samples: Mapping[str, Sequence[Sample]], runs: int, *, judge: bool) -> list[Row]:
    """The figures of grids of one size; the bars are for 300 runs."""

    def ours(name: str, floor: str | None, *bars: Bar) -> Contender:
        peer = PEER if name == OURS or floor == FLOOR_QUEUED else None
        return Contender(name, _never, floor, peer, bars if judge else ())

    def plain(name: str) -> Contender:
        return Contender(name, _never)

    # The same sbatch, under the name of the case whose floor it is.
    samples = {**samples, FLOOR_QUEUED: samples[FLOOR]}
    written = [Bar(at_most=0.5, figure=FILES), Bar(at_most=2000, figure=BYTES)]
    return [
        *one_case(
            f"{runs} runs, until queued",
            samples,
            lambda sample: sample.queued_s,
            ours(OURS, FLOOR_QUEUED, Bar(at_most=1.5), *written),
            ours(OURS_PACKED, FLOOR_QUEUED),
            plain(PEER),
            plain(FLOOR_QUEUED),
            figures=(FILES, BYTES),
        ),
        *one_case(
            f"{runs} runs, CPU of the submitter",
            samples,
            lambda sample: sample.cpu_s,
            ours(OURS, None, Bar(at_most=3)),
            plain(OURS_PACKED),
            plain(PEER),
            figures=(QUERIES,),
        ),
        *one_case(
            f"{runs} runs, CPU before the function",
            samples,
            lambda sample: sample.before_function_s,
            ours(OURS, FLOOR_HYDRA, Bar(at_most=0.3)),
            plain(OURS_PACKED),
            plain(PEER),
            plain(FLOOR_HYDRA),
            plain(FLOOR_CPU),
        ),
        *one_case(
            f"{runs} runs, makespan per run",
            samples,
            lambda sample: sample.makespan_s,
            ours(OURS, FLOOR, Bar(at_most=0.25)),
            plain(PEER),
            plain(FLOOR_HYDRA),
            plain(FLOOR),
        ),
        *one_case(
            f"{runs} runs, makespan per run, packed",
            samples,
            lambda sample: sample.makespan_s,
            ours(OURS_PACKED, FLOOR_PACKED, Bar(at_most=0.04)),
            plain(FLOOR_PACKED),
        ),
    ]


def _never() -> float:
    raise AssertionError("it has been measured")


def load_cluster() -> Any:
    """The module of the private cluster, which is in no package."""
    spec = importlib.util.spec_from_file_location("slurm_cluster", CLUSTER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["slurm_cluster"] = module  # its dataclasses look for it
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Measure growing grids; the peer once, at the size that the bars are for."""
    settings = options(__doc__)
    slurm_cluster = load_cluster()
    cluster_options = slurm_cluster.Options(accounting=True, max_array_size=1001)
    if missing := slurm_cluster.missing_programs(cluster_options):
        print(f"slurm: nothing is measured, as this machine lacks {', '.join(missing)}")
        return
    sizes = {30: 1} if settings.quick else {100: 1, 300: 2}
    rows: list[Row] = []
    with slurm_cluster.SlurmCluster(cluster_options) as private_cluster:
        cluster = ClusterRunner(private_cluster)
        few = 8 if settings.quick else 40  # tasks of the floors that show processor time alone
        total = 12 if settings.quick else 30
        wait = Contender(
            WAITING,
            partial(waiting, cluster, total),
            bars=[Bar(at_most=1, figure=QUERIES_PER_POLL)],
        )
        wait_rows = measure(f"{total} runs in three arrays, CPU of the wait", [wait], 1)
        for runs, repeats in sizes.items():
            judge = runs == max(sizes)
            print_cpu = "import time; print(time.process_time())"
            jobs = {
                OURS: (partial(grid, cluster, OURS, runs), repeats),
                OURS_PACKED: (partial(grid, cluster, OURS_PACKED, runs), repeats),
                PEER: (partial(grid, cluster, PEER, runs), 1 if judge else 0),
                FLOOR: (partial(floor_array, cluster, "pass", runs), 1),
                FLOOR_PACKED: (partial(floor_packed, cluster, runs), repeats),
                FLOOR_HYDRA: (partial(floor_array, cluster, f"import hydra; {print_cpu}", few), 1),
                FLOOR_CPU: (partial(floor_array, cluster, print_cpu, few), 1),
            }
            rows += cases(take_samples(jobs), runs, judge=judge)
    note = (
        "Makespan: from the start of the first task to the end of the last, according to the "
        f"controller's log. `{FILES}` and `{BYTES}`: in the app's folder when sbatch is called. "
        "CPU before the function: the median of all runs, including the batch script and children. "
        f"`{QUERIES}`: calls by the submitting process."
    )
    report("slurm", "s", [*rows, *wait_rows], settings.json, note)


if __name__ == "__main__":
    main()
