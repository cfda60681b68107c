"""Where a package is missing that not everybody installs, its user is told how to get it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workspace import environment

RUN = """
from expkit_bookkeeping import Bookkeeping
with Bookkeeping("results/first/training/a", config={}, swept={"lr": 0.1}) as run:
    run.log_metrics({"loss": 1.0}, step=0)
"""
HIDE = """
import sys
class Without:
    def __init__(self, finder): self.finder = finder
    def __getattr__(self, name): return getattr(self.finder, name)
    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] == %r else self.finder.find_spec(name, *rest)
sys.meta_path[:] = map(Without, sys.meta_path)
"""
RESULTS = "'results/first'"
METRIC = ["--metric", "loss", "--direction", "minimize"]
A_RUN = f"Run({RESULTS}, 'a')"


def call(package: str, expression: str) -> str:
    return f"from {package} import *\ntry: {expression}\nexcept ImportError as error: print(error)"


def bookkeeping(expression: str) -> str:
    """A method of the run that is there."""
    run = f"Bookkeeping({RESULTS} + '/training/a', console=False)"
    return call("expkit_bookkeeping", f"{run}.open().{expression}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with an experiment of one run."""
    folder = tmp_path_factory.mktemp("missing")
    subprocess.run([sys.executable, "-c", RUN], cwd=folder, env=environment(), check=True)
    run = folder / "results" / "first" / "training" / "a"
    for name in (
        "results/table.csv",
        "results/table.parquet",
        "results/array.npy",
        "states/model.pt",
    ):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).touch()
    shutil.copytree(folder / "results" / "first", folder / "results" / "other")
    return folder


def run_without(module: str, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDE % module + code],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("module", "command", "code"),
    [
        ("torch", "pip install torch", bookkeeping("save_checkpoint(0, model=object())")),
        ("torch", "pip install torch", bookkeeping("load_state('model')")),
        ("torch", "pip install torch", bookkeeping("save_model_summary(object())")),
        ("torch", "pip install torch", call("expkit_seed", "loader_kwargs(1)")),
        ("torch", "pip install torch", call("expkit_seed", "SeededDataset([1], 1)")),
        ("torch", "pip install torch", call("expkit_timer", "Timer(cuda='sync')")),
        ("pandas", "expkit-bookkeeping[pandas]", call("expkit_bookkeeping", f"results({RESULTS})")),
        ("pandas", "expkit-bookkeeping[pandas]", bookkeeping("load_results('table.csv')")),
        ("pyarrow", "expkit-bookkeeping[parquet]", bookkeeping("load_results('table.parquet')")),
        ("numpy", "pip install numpy", bookkeeping("load_results('array.npy')")),
        ("omegaconf", "omegaconf", call("expkit_bookkeeping", f"{A_RUN}.dict_config()")),
        ("pandas", "expkit-timer[pandas]", call("expkit_timer", "Timer().to_dataframe()")),
        ("yaml", "expkit-timer[yaml]", call("expkit_timer", "Timer().save('timer.yaml')")),
        ("hydra", "expkit-registry[hydra]", call("expkit_registry", "BaseRegistry.store('x')")),
        ("jinja2", "expkit-plotting[report]", call("expkit_plotting", f"Report({RESULTS}).save()")),
        ("expkit_bookkeeping", "[runs]", call("expkit_plotting", f"PlotMetrics({RESULTS})")),
    ],
)  # fmt: skip
def test_a_missing_package_is_named_with_the_command_that_brings_it(module, command, code, folder):
    done = run_without(module, code, folder)

    assert command in done.stdout, done.stderr
    assert "pip install" in done.stdout


@pytest.mark.parametrize(
    ("module", "command", "verb"),
    [
        ("pandas", "[pandas]", ["table", "results/first"]),
        ("pandas", "[pandas]", ["compare", "results/first", "results/other", *METRIC]),
        ("jinja2", "[report]", ["report", "results/first"]),
        ("expkit_bookkeeping", "[runs]", ["plot", "results/first"]),
        ("sqlalchemy", "[local]", ["ui", "results/first"]),
        ("shtab", "pip install shtab", ["completion", "bash"]),
    ],
)
def test_a_verb_says_so_in_one_line_and_ends_with_its_own_exit_code(module, command, verb, folder):
    done = run_without(module, f"from expkit.__main__ import main; sys.exit(main({verb}))", folder)

    (line,) = done.stderr.splitlines()
    assert "pip install" in line
    assert command in line
    assert done.returncode == 69
