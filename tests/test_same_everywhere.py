"""One script sees the same and leaves the same wherever its runs are executed.

What cannot be equal is named here, and in the tables of the READMEs of expkit-hydra and
expkit-slurm.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workspace import environment

CONFIG = """
defaults: [expkit, model: net, _self_]
experiment_id: witness
x: 0
tripled: ${triple:${x}}
ratio: 1e-3
model: {kind: SPARSE}
expkit: {after: []}
hydra: {sweeper: {params: {x: [1, 2, 3, 4]}}}
"""
GRID = ("-m", "x=1,2,3")
JOBS = ("hydra.launcher.n_jobs=2",)
SLURM = ("hydra/launcher=expkit_slurm", "hydra.launcher.mem=400M", "hydra.launcher.poll_s=0.3")
PACKED = (*SLURM, "hydra.launcher.runs_per_task=3", "hydra.launcher.parallel_per_task=2")
CONSOLE = [
    "['1.5']",
    "[TIME][early][WARNING] - logged by a handler of the module",
    "logged by a handler of the module",
    "printed by 1",
    "said by a child",
    "written to descriptor 1",
]
# One thread everywhere: else each of several processes gets its share of the processors.
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
# Variables that name the place.
OF_THE_PLACE = re.compile(
    r"(SLURM|WITNESS|EXPKIT_(GRID|RUN)$)|(_|SHLVL|PWD|OLDPWD|HOSTNAME|ENVIRONMENT|TMPDIR)$"
)


class Project:
    """A folder with the script; each way to start it has results of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "conf").mkdir()
        (folder / "conf/config.yaml").write_text(CONFIG)
        (folder / "conf/__init__.py").touch()  # for Hydra, if the script is imported
        shutil.copy(Path(__file__).with_name("witness.py"), folder / "train.py")
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def start(
        self, name: str, *command: str, cwd: Path | None = None, stdin: str = "", **variables: str
    ) -> None:
        """Start Python with these arguments."""
        witness = str(self.folder / f"{name}.json")
        process = subprocess.Popen(
            [sys.executable, *command, f"results_dir={self.folder / name}"],
            cwd=cwd or self.folder,
            env=environment(WITNESS=witness, **THREADS, **variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        self.processes[name] = process

    def output(self, name: str) -> str:
        """What it has printed until its end."""
        process = self.processes[name]
        assert process.stdout is not None
        output = process.stdout.read()
        process.wait(timeout=60)
        return output

    def seen(self, name: str) -> dict[str, object]:
        """What its first run has seen, without what names the place."""
        output = self.output(name)
        path = self.folder / f"{name}.json"
        assert path.exists(), output
        seen = json.loads(path.read_text().replace(str(self.folder / name), "RESULTS"))
        variables = seen["environment"]
        seen["environment"] = {k: v for k, v in variables.items() if not OF_THE_PLACE.match(k)}
        seen["argv"] = [text for text in seen["argv"] if "hydra" not in text]
        # An empty entry stands for the working directory, and a debugger handles Ctrl-C itself.
        seen["path"] = [str(Path(seen["cwd"], entry)) for entry in seen["path"]]
        seen["signals"] = str(seen["signals"]).replace("Pdb.sigint_handler", "default_int_handler")
        hydra = seen["hydra"]
        del hydra["launcher"], hydra["overrides"]["hydra"]
        del hydra["runtime"]["choices"]["hydra/launcher"]
        return seen

    def left(self, name: str) -> dict[str, object]:
        """What its runs have left, and whether functions of atexit were called."""
        runs = {}
        for path in (self.folder / name / "witness/training").glob("*/run.json"):
            record = json.loads(path.read_text())
            error = record.get("error") or {}
            runs[record["run_name"]] = {
                "state": record["state"],
                "error": [error.get("type"), error.get("message")],
                "returned": record.get("returned"),
                "console": _lines(path.with_name("console.log")),
            }
        return {"runs": runs, "atexit": (self.folder / f"{name}.left").exists()}

    def differences(self, name: str, other: str) -> object:
        """What two ways to start it differ in."""
        one = self.seen(name) | self.left(name)
        two = self.seen(other) | self.left(other)
        return differing(one, two)


def differing(one: object, two: object) -> object:
    """What two values differ in, as pairs; of mappings only the keys at which they do."""
    if not isinstance(one, dict) or not isinstance(two, dict):
        return one, two
    keys = [key for key in one | two if one.get(key) != two.get(key)]
    return {key: differing(one.get(key), two.get(key)) for key in keys}


def _lines(path: Path) -> list[str]:
    """The lines of a log without times; sorted, as streams have buffers of their own."""
    text = path.read_text() if path.exists() else ""
    return sorted(re.sub(r"^\[[\d :,-]+\]", "[TIME]", text, flags=re.MULTILINE).splitlines())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


WAYS = {
    "a script": ["train.py"],
    "a module": ["-m", "train"],
    "a debugger": ["-m", "pdb", "-c", "continue", "train.py"],
    "another folder": ["../train.py"],
    "an import": ["-c", "import train; train.main()"],
    "options": ["-O", "-X", "utf8", "-W", "error::UserWarning", "train.py"],
}
# What the block of the script registers: it is not executed here, as `__name__` is another.
UNDEFINED = {"an import": ["tripled=3"]}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_in_a_process_of_its_own_is_like_one_in_the_sweeps(project, way):
    cwd = project.folder / "elsewhere"
    cwd.mkdir()
    for name, options in (("here", ()), ("jobs", JOBS)):
        directory = cwd if way == "another folder" else None
        variables = {"WITNESS_TORCH": "1"} if way == "a script" else {}
        project.start(
            name, *WAYS[way], *GRID, *options, *UNDEFINED.get(way, ()), cwd=directory, **variables
        )

    differences = project.differences("here", "jobs")
    assert differences == {}
    runs = project.left("here")["runs"]
    assert [runs[x]["state"] for x in "123"] == ["completed", "failed", "failed"]
    assert runs["1"]["returned"] == {"$tuple": [1 if way == "an import" else 100, 0.5]}
    assert runs["1"]["console"] == CONSOLE


@pytest.mark.parametrize(
    ("launcher", "way", "variables"),
    [
        (SLURM, "a script", {"WITNESS_TORCH": "1"}),
        (SLURM, "a module", {}),
        (SLURM, "options", {}),
        (PACKED, "a script", {}),
        (PACKED, "a script", {"WITNESS_THREAD": "1"}),
    ],
)
def test_a_run_on_slurm_is_like_one_in_the_sweeps_process(
    project, cluster, launcher, way, variables
):
    project.start("here", *WAYS[way], *GRID, **variables)
    project.start("slurm", *WAYS[way], *GRID, *launcher, **variables, **cluster)

    differences = project.differences("here", "slurm")
    assert differences == {}


def test_a_single_run_and_a_rank_of_it_are_like_a_run_of_a_grid(project):
    project.start("grid", "train.py", "-m", "x=1")
    project.start("single", "train.py", "x=1")
    project.start("rank", "train.py", "x=1", RANK="1", LOCAL_RANK="1", WORLD_SIZE="2")
    grid, single, rank = [project.seen(name) for name in ("grid", "single", "rank")]
    for seen in (grid, single, rank):
        # Of Hydra's node a single run has another mode, and no number.
        seen["hydra"] = [seen["hydra"][key] for key in ("runtime", "callbacks", "searchpath")]
        del seen["argv"]
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        del rank["environment"][name]

    assert differing(grid, single) == {}
    # The other ranks write no log, and have nothing to record when a signal ends them.
    for name in ("signals", "logging"):
        del single[name], rank[name]
    assert differing(single, rank) == {}
    assert project.left("rank")["runs"] == {}  # rank 0 records it


def test_a_function_of_a_notebook_stays_in_its_process_and_the_sweep_says_so(project):
    script = (project.folder / "train.py").read_text()
    script = script.replace('config_path="conf"', "config_path=None").replace(
        "Path(__file__).parent", "Path()"
    )
    # As in a notebook, `__main__` comes from no file.
    project.start("jobs", "-", "--config-dir=conf", *GRID, *JOBS, stdin=script)

    assert "defined in an interactive session" in project.output("jobs")
    assert project.left("jobs") == {"runs": {}, "atexit": False}
