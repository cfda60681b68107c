"""Shapes of public projects, as they are and with the one line `expkit`; see tests/projects."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from workspace import Workspace

pytestmark = pytest.mark.integration

SHAPES = Path(__file__).with_name("projects")
OBSERVER = "+hydra.callbacks.observer._target_=observer.Observer"
OUR_KEYS = {"results_dir", "experiment_id", "run_name", "_filters", "expkit", "mlflow"}
OUR_CHOICES = {"hydra/sweeper", "hydra/launcher", "hydra/job_logging"}
TIMES = re.compile(r"\d{4}[.-]\d\d[.-]\d\d([_/ -]\d\d[.:-]?\d\d[.:-]?\d\d(-\d+)?)?")


@dataclass(frozen=True)
class Shape:
    """A public project's shape, and what is run of it.

    Attributes:
        name: Its folder in tests/projects.
        config: The file with its defaults list.
        start: The arguments of Python that start it.
        grid: The overrides of a grid.
        single: The overrides of a single run.
        runs: The names of the grid's runs; the last two fail while something is broken.
        single_name: The name of the single run.
        broken: The value at which they fail.
        error: What they fail with.
        own_folders: What is said of the folders that the project itself configures: of the grid's
            and of a single run's.
        cwd: Where it is started, below its folder.
        experiment: The experiment's name.
    """

    name: str
    config: str
    start: tuple[str, ...]
    grid: tuple[str, ...]
    single: tuple[str, ...]
    runs: tuple[str, ...]
    single_name: str
    broken: str
    error: str
    own_folders: tuple[str, str] = ("", "")
    cwd: str = "."
    experiment: str = "train"


NOW = "${now:%Y-%m-%d}_${now:%H-%M-%S}"
NEWEST = Shape(
    "newest_defaults",
    "config/config.yaml",
    ("app.py",),
    ("db=mysql,postgresql", "lr=1,2"),
    ("db=postgresql", "lr=3"),
    ("mysql_1", "mysql_2", "postgresql_1", "postgresql_2"),
    "postgresql_3",
    "postgresql",
    "no postgresql",
    experiment="app",
)
SHAPES_AND_RUNS = [
    Shape(
        "lightning_template",
        "configs/train.yaml",
        ("src/train.py",),
        ("model.width=1,2", "seed=1,2"),
        ("experiment=wide", "seed=3"),
        ("1_1", "1_2", "2_1", "2_2"),
        "wide_3",
        "2",
        "the loss is NaN",
        (
            f"hydra.sweep.dir (${{paths.log_dir}}/${{task_name}}/multiruns/{NOW}) and "
            "hydra.sweep.subdir (${hydra.job.num})",
            f"hydra.run.dir (${{paths.log_dir}}/${{task_name}}/runs/{NOW})",
        ),
    ),
    Shape(
        "isaac_gym",
        "gym_envs/cfg/config.yaml",
        ("train.py",),
        ("task=Cartpole,Ant", "seed=1,2"),
        ("task=Ant", "seed=3"),
        ("Cartpole_1", "Cartpole_2", "Ant_1", "Ant_2"),
        "Ant_3",
        "Ant",
        "the simulator has crashed",
        ("", "hydra.run.dir (.)"),
        cwd="gym_envs",
    ),
    Shape(
        "diffusion_policy",
        "policies/config/train_image.yaml",
        ("train.py", "--config-name=train_image"),
        ("horizon=8,16", "training.seed=1,2"),
        ("training.seed=3",),
        ("8_1", "8_2", "16_1", "16_2"),
        "3",
        "16",
        "out of memory",
        (
            "hydra.sweep.dir (data/outputs/${now:%Y.%m.%d}/${now:%H.%M.%S}_${name}_${task_name}) "
            "and hydra.sweep.subdir (${hydra.job.num})",
            "hydra.run.dir (data/outputs/${now:%Y.%m.%d}/${now:%H.%M.%S}_${name}_${task_name})",
        ),
    ),
    Shape(
        "state_spaces",
        "configs/config.yaml",
        ("-m", "train"),
        ("model/layer=full,diag", "callbacks=[base],[base,track_norms]"),
        ("model/layer=full", "train.seed=3"),
        ("full_base", "full_base-track_norms", "diag_base", "diag_base-track_norms"),
        "full_3",
        "diag",
        "CUDA error: device-side assert triggered",
        ("", "hydra.run.dir (./outputs/${now:%Y-%m-%d}/${now:%H-%M-%S-%f})"),
    ),
    Shape(
        "mbrl",
        "mbrl/examples/conf/main.yaml",
        ("-m", "mbrl.examples.main"),
        ("seed=0,1", "overrides.model_lr=0.1,1e-4"),
        ("seed=3", "experiment=mine"),
        ("0_0.1", "0_0.0001", "1_0.1", "1_0.0001"),
        "3_mine",
        "1",
        "the model diverged",
        (
            "hydra.sweep.dir (${root_dir}/${algorithm.name}/${experiment}/${overrides.env}/"
            "${now:%Y.%m.%d}/${now:%H%M%S})",
            "hydra.run.dir (${root_dir}/${algorithm.name}/${experiment}/${overrides.env}/"
            "${now:%Y.%m.%d}/${now:%H%M%S})",
        ),
        experiment="main",
    ),
    Shape(
        "dataclass_configs",
        "app.py",
        ("app.py",),
        ("model.activation=RELU,GELU", "optimizer=sgd,adam"),
        ("model.widths=[1,2,3]", "model.dropout=0.5"),
        ("RELU_sgd", "RELU_adam", "GELU_sgd", "GELU_adam"),
        "1-2-3_0.5",
        "GELU",
        "the gradient has vanished",
        experiment="app",
    ),
    Shape(
        "hydra_zen_app",
        "train.py",
        ("train.py",),
        ("net=small,large", "x=1,2"),
        ("net=large", "x=3"),
        ("small_1", "small_2", "large_1", "large_2"),
        "large_3",
        "8",
        "no more memory",
    ),
    Shape(
        "multi_select",
        "conf/config.yaml",
        ("my_app.py",),
        ("server/site=[fb],[fb,google]", "server.port=1,2"),
        ("server/site=[google,amazon]",),
        ("fb_1", "fb_2", "fb-google_1", "fb-google_2"),
        "google-amazon",
        "google",
        "no route to host",
        experiment="my_app",
    ),
    NEWEST,
    replace(NEWEST, name="oldest_defaults"),
]


class Project(Workspace):
    """A copy of a shape."""

    def __init__(self, shape: Shape, folder: Path) -> None:
        shutil.copytree(SHAPES / shape.name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        super().__init__(folder / shape.cwd)
        self.shape = shape
        self.root = folder
        self.observed = folder.with_suffix(".jsonl")
        self.outputs: dict[str, str] = {}
        self.calls: dict[str, list[dict[str, object]]] = {}  # what runs have seen, by step

    def add_the_line(self) -> None:
        """Write `expkit` at the start of the defaults list."""
        path = self.root / self.shape.config
        entry = "  - expkit\n" if path.suffix == ".yaml" else f'{" " * 12}"expkit",\n'
        text, lists = re.subn(r"defaults(:|=\[)\n|lambda: \[\n", rf"\g<0>{entry}", path.read_text())
        assert lists == 1
        path.write_text(text)

    def step(self, name: str, *command: str, code: int = 0, **variables: str) -> None:
        """Run one command, and keep its output and what its runs have seen."""
        variables |= {"OBSERVED": str(self.observed), "PYTHONPATH": str(SHAPES)}
        done = self.run(*command, code=code, **variables)
        self.outputs[name] = done.stdout + done.stderr
        lines = self.observed.read_text().splitlines() if self.observed.exists() else []
        self.calls[name] = [json.loads(line) for line in lines]
        self.observed.unlink(missing_ok=True)

    def start_it(self, name: str, *arguments: str, code: int = 0, **variables: str) -> None:
        """Run the project's script."""
        self.step(name, "python", *self.shape.start, *arguments, OBSERVER, code=code, **variables)

    def files(self) -> dict[str, bytes]:
        """All files that are not in `results`."""
        results = self.folder / "results"
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and not path.is_relative_to(results) and path.suffix != ".pyc"
        }

    def seen(self, *steps: str) -> list[dict[str, object]]:
        """What runs have seen, without places, times and what is expkit's own; ordered."""
        calls = [self._comparable(call) for step in steps for call in self.calls[step]]
        return sorted(calls, key=str)

    def _comparable(self, call: dict[str, object]) -> dict[str, object]:
        output_dir = str(call["output_dir"])
        call = {key: value for key, value in call.items() if key != "output_dir"}
        text = json.dumps(call)
        if output_dir != str(self.folder):
            text = text.replace(output_dir, "RUN")
        seen = json.loads(TIMES.sub("TIME", text.replace(str(self.root), "ROOT")))
        kind, items = seen["config"]
        seen["config"] = [kind, [item for item in items if item[0] not in OUR_KEYS]]
        seen["choices"] = {k: v for k, v in seen["choices"].items() if k not in OUR_CHOICES}
        return seen

    def records(self) -> dict[str, dict[str, object]]:
        """The records of all runs, by name."""
        paths = (self.folder / "results" / self.shape.experiment / "training").glob("*/run.json")
        return {path.parent.name: json.loads(path.read_text()) for path in paths}


@dataclass
class Pair:
    """A project as it is, and the same with the line; both after all their steps."""

    shape: Shape
    plain: Project
    ours: Project
    files: dict[str, bytes] = field(default_factory=dict)  # of ours, with the line, before any run
    states: dict[str, object] = field(default_factory=dict)  # after the grid in which runs failed

    def run_plain(self) -> None:
        """As the project is."""
        self.plain.start_it("single", *self.shape.single)
        self.plain.start_it("grid", "-m", *self.shape.grid)

    def run_ours(self) -> None:
        """With the line, and nothing else."""
        ours, grid = self.ours, self.shape.grid
        ours.add_the_line()
        self.files = ours.files()
        ours.step("check", "expkit", "check", *self.shape.start, *grid, OBSERVER)
        ours.start_it("single", *self.shape.single)
        ours.start_it("grid", "-m", *grid, code=1, BROKEN=self.shape.broken)
        self.states = {name: record["state"] for name, record in ours.records().items()}
        ours.start_it("again", "-m", *grid, "hydra.launcher.n_jobs=2")
        ours.start_it("done", "-m", *grid)
        ours.step("status", "expkit", "status", f"results/{self.shape.experiment}")


@pytest.fixture(scope="module", params=SHAPES_AND_RUNS, ids=lambda shape: shape.name)
def pair(request, tmp_path_factory):
    shape = request.param
    if shape.name == "hydra_zen_app":
        pytest.importorskip("hydra_zen")
    folder = tmp_path_factory.mktemp(shape.name)
    pair = Pair(shape, Project(shape, folder / "plain"), Project(shape, folder / "ours"))
    with ThreadPoolExecutor() as pool:
        for work in [pool.submit(pair.run_plain), pool.submit(pair.run_ours)]:
            work.result()
    return pair


def test_runs_see_what_they_see_without_the_line(pair):
    """Configurations with types and order, overrides, choices, folder, returned value."""
    failed = [call for call in pair.ours.calls["grid"] if call["status"] == "FAILED"]
    pair.ours.calls["completed"] = [call for call in pair.ours.calls["grid"] if call not in failed]

    assert pair.ours.seen("single") == pair.plain.seen("single")
    assert pair.ours.seen("completed", "again") == pair.plain.seen("grid")
    assert len(failed) == len(pair.ours.calls["again"]) > 0


def test_the_grid_is_named_resumed_and_not_run_again(pair):
    shape, ours = pair.shape, pair.ours
    broken = shape.runs[2:]

    assert pair.states == {
        **dict.fromkeys([shape.single_name, *shape.runs], "completed"),
        **dict.fromkeys(broken, "failed"),
    }
    assert {name: record["state"] for name, record in ours.records().items()} == dict.fromkeys(
        [shape.single_name, *shape.runs], "completed"
    )
    attempts = {name: record["attempt"] for name, record in ours.records().items()}
    assert attempts == {
        shape.single_name: 1,
        **dict.fromkeys(shape.runs, 1),
        **dict.fromkeys(broken, 2),
    }
    assert ours.calls["done"] == []
    assert f"{len(shape.runs)} completed, nothing to do" in ours.outputs["done"]
    assert f"{len(shape.runs) + 1} completed" in ours.outputs["status"]


def test_nothing_of_the_project_changes_and_all_results_are_in_one_tree(pair):
    files = pair.ours.files()
    written = files.keys() - pair.files.keys()

    assert {path: files.get(path) for path in pair.files} == pair.files
    assert written <= pair.plain.files().keys()  # as isaac_gym does where it is started


def test_the_results_have_the_numbers_that_the_function_returned(pair):
    returned = [call["returned"] for call in pair.plain.calls["grid"]]
    is_number = returned[0] != "None" and not returned[0].startswith("(")
    results = pair.ours.folder / "results" / pair.shape.experiment / "results.csv"

    assert ("returned" in results.read_text()) == is_number


def test_check_says_what_the_grid_is_and_which_folders_it_does_not_use(pair):
    output, runs = pair.ours.outputs["check"], len(pair.shape.runs)

    assert f"\n{runs} in the grid, {runs} to run\n" in f"\n{output}"
    assert pair.ours.calls["check"] == []
    for folders in pair.shape.own_folders:
        for key in re.findall(r"hydra\.\w+\.\w+(?= \()", folders):
            assert f"own {key} (" in output
    assert "refused" not in output


def test_a_line_says_that_the_projects_own_folders_are_not_used(pair):
    for step, folders in zip(("grid", "single"), pair.shape.own_folders, strict=True):
        output = pair.ours.outputs[step]
        text = f"{folders} {'are' if ' and ' in folders else 'is'} not used."
        assert (text in output) if folders else ("not used" not in output), output


def test_errors_are_the_projects_own(pair):
    outputs = pair.ours.outputs
    frames = [re.findall(r'File ".*/expkit\w*/.*', text) for text in outputs.values()]

    assert pair.shape.error in outputs["grid"]
    assert not any(frames), frames
    assert not any("Traceback (most recent call last)" in text for text in outputs.values())


def test_a_project_resumes_from_its_own_checkpoint(tmp_path):
    """A run that failed goes on in its folder, where the project finds what it left."""
    shape = next(shape for shape in SHAPES_AND_RUNS if shape.name == "diffusion_policy")
    project = Project(shape, tmp_path / "ours")
    project.add_the_line()
    run = project.folder / "results/train/training/16"

    project.start_it("single", "horizon=16", code=1, BROKEN="16")
    project.start_it("grid", "-m", "horizon=8,16")

    assert "Resuming from checkpoint latest.ckpt" in (run / "console.log").read_text()
    lines = (run / "logs.json.txt").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3]
    assert len(project.calls["grid"]) == 2


@pytest.fixture
def template(tmp_path):
    """A copy of the shape with the most in its own `hydra:` block, with the line."""
    project = Project(SHAPES_AND_RUNS[0], tmp_path / "ours")
    project.add_the_line()
    return project


def test_runs_see_on_slurm_what_they_see_here(template, cluster):
    options = ("hydra.launcher.mem=400M", "hydra.launcher.poll_s=0.3")
    template.start_it("here", "-m", "model.width=1,2")
    shutil.rmtree(template.folder / "results")
    template.start_it(
        "slurm", "-m", "model.width=1,2", "hydra/launcher=expkit_slurm", *options, **cluster
    )

    assert template.seen("slurm") == template.seen("here") != []


def test_results_stay_in_the_projects_own_tree_if_two_keys_say_so(template):
    config = template.folder / "configs/train.yaml"
    keys = "results_dir: ${paths.log_dir}\nexperiment_id: ${task_name}\n"
    config.write_text(config.read_text().replace("task_name:", f"{keys}task_name:"))
    before = set(template.files())

    template.start_it("grid", "-m", "model.width=1,2")
    template.start_it("single", "model.width=3")

    curves = "logs/train/training/1/csv/metrics.csv"
    template.step("nothing", "expkit", "plot", "logs/train", code=1)
    template.step("plot", "expkit", "plot", curves)
    template.step("table", "expkit", "table", "logs/train")

    assert "2 completed" in template.outputs["grid"]
    assert "0.203 (n = 1)" in template.outputs["table"]
    assert "expkit plot FILE.csv" in template.outputs["nothing"]
    assert (template.folder / curves).with_name("plots").joinpath("val_acc.png").is_file()
    assert all(path.startswith("logs/train/") for path in set(template.files()) - before)
    assert len(list(template.folder.glob("logs/train/training/*/run.json"))) == 3


def test_the_projects_own_launcher_stays_until_the_command_line_names_another(template):
    config = template.folder / "configs/train.yaml"
    last = "  - optional local: default\n"
    own = f"{last}  - override hydra/launcher: basic\n"
    config.write_text(config.read_text().replace(last, own))

    template.start_it("grid", "-m", "model.width=1,2")
    template.start_it("more", "-m", "model.width=1,2,3", "hydra/launcher=expkit")

    assert "Launching 2 jobs locally" in template.outputs["grid"]
    assert "3 in the grid, 2 completed, 1 to run" in template.outputs["more"]


def test_a_value_that_changes_with_each_call_is_ignored_by_name(template):
    config = template.folder / "configs/train.yaml"
    script = template.folder / "src/train.py"
    resolver = 'OmegaConf.register_new_resolver("port", os.getpid)'
    script.write_text(
        script.read_text().replace("log = ", f"from omegaconf import OmegaConf\n{resolver}\nlog = ")
    )
    config.write_text(f"{config.read_text()}port: ${{port:}}\n")

    template.start_it("first", "-m", "model.width=1,2")
    template.start_it("refused", "-m", "model.width=1,2", code=1)
    config.write_text(f"{config.read_text()}expkit: {{ignore: [device, num_workers, port]}}\n")
    template.start_it("again", "-m", "model.width=1,2")

    assert "port" in template.outputs["refused"]
    assert "2 completed, nothing to do" in template.outputs["again"]


def test_a_notebook_composes_what_it_composes_without_the_line(tmp_path):
    outputs = []
    for line in ("", "  - expkit\n"):
        folder = tmp_path / f"with{len(line)}"
        shutil.copytree(SHAPES / "notebook", folder)
        config = folder / "conf/config.yaml"
        config.write_text(config.read_text().replace("defaults:\n", f"defaults:\n{line}"))
        cells = json.loads((folder / "explore.ipynb").read_text())["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells)
        (folder / "explore.py").write_text(code)
        outputs.append(Workspace(folder).run("python", "explore.py").stdout)
    plain, ours = (yaml.safe_load_all(output) for output in outputs)
    composed, model = ours

    assert composed["experiment_id"] == "explore"
    assert [{k: v for k, v in composed.items() if k not in OUR_KEYS}, model] == list(plain)
