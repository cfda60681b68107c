"""Run folders as expkit-bookkeeping writes them, with plausible curves; and real LaTeX."""

import importlib.util
import itertools
import json
import math
import os
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from expkit_plotting import PlotStyle
from expkit_plotting._style import latex as latex_support

sys.path.insert(0, str(Path(__file__).parent))  # what these tests share


def write_run(
    folder: Path,
    swept: Mapping[str, object],
    metrics: Mapping[str, Sequence[float]],
    *,
    state: str = "completed",
    total: int | None = None,
    best_metric: str = "val_accuracy",
) -> Path:
    """One run's run.json and metrics.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = max((len(values) for values in metrics.values()), default=0)
    record = {
        "schema": 1,
        "run_name": folder.name,
        "experiment_id": folder.parent.parent.name,
        "state": state,
        "swept": dict(swept),
        "progress": {"step": steps - 1, "total": total or steps},
        "best": {"metric": best_metric, "direction": "maximize", "value": 1.0, "step": 0},
    }
    (folder / "run.json").write_text(json.dumps(record))
    lines = []
    for step in range(steps):
        row = {
            name: _strict(values[step]) for name, values in metrics.items() if step < len(values)
        }
        lines.append(json.dumps({"step": step, "time": 1763884800.0 + step, "metrics": row}))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def _strict(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def curves(seed: int, *, epochs: int, speed: float, best: float) -> dict[str, list[float]]:
    """Losses that fall and an accuracy that rises, with noise."""
    rng = random.Random(seed)
    speed *= rng.uniform(0.8, 1.25)
    best = min(0.995, best * rng.uniform(0.96, 1.02))
    loss, val_loss, val_accuracy = [], [], []
    for epoch in range(epochs):
        left = math.exp(-speed * (epoch + 1))
        loss.append(2.3 * left + 0.02 + abs(rng.gauss(0, 0.015)))
        val_loss.append(2.2 * left + 0.12 + 0.004 * epoch * speed + rng.gauss(0, 0.02))
        val_accuracy.append(min(1.0, best * (1 - 0.9 * left) + rng.gauss(0, 0.006)))
    return {"loss": loss, "val_loss": val_loss, "val_accuracy": val_accuracy}


def write_experiment(
    root: Path, grid: Mapping[str, Sequence[object]], *, epochs: int = 20, name: str = "digits"
) -> Path:
    """An experiment with a run for every combination of the grid."""
    experiment = root / name
    for number, values in enumerate(itertools.product(*grid.values())):
        swept = dict(zip(grid, values, strict=True))
        rng = random.Random(json.dumps([v for k, v in swept.items() if k != "seed"], default=str))
        run_name = "_".join(str(value) for value in values)
        write_run(
            experiment / "training" / run_name,
            swept,
            curves(
                number, epochs=epochs, speed=rng.uniform(0.08, 0.6), best=rng.uniform(0.8, 0.98)
            ),
        )
    return experiment


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory, monkeypatch) -> None:
    """Outcomes of LaTeX probes neither come from this machine's cache nor go into it."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def pytest_collection_modifyitems(items) -> None:
    """Whatever takes a run folder needs the packages that read it."""
    for item in items:
        if {"experiment", "run_folder", "grid"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("runs")


@pytest.fixture(autouse=True)
def _reader_of_run_folders(request) -> None:
    """Session `tests_runs` says EXPKIT_REQUIRE=runs; else these tests are skipped without it."""
    if request.node.get_closest_marker("runs") is None:
        return
    for name in ("expkit_bookkeeping", "expkit_hydra"):
        if importlib.util.find_spec(name) is None:
            if "runs" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
                pytest.fail(f"{name} is required here and missing")
            pytest.skip(f"needs {name}, which reads what it wrote")


@pytest.fixture
def run_folder() -> Callable[..., Path]:
    return write_run


@pytest.fixture
def experiment(tmp_path) -> Callable[..., Path]:
    def write(grid: Mapping[str, Sequence[object]], **keywords) -> Path:
        return write_experiment(tmp_path / "results", grid, **keywords)

    return write


@pytest.fixture
def grid() -> Callable[..., None]:
    """Writes the files of an experiment's latest grid; rules skip the runs of `skipped`."""

    def write(
        experiment: Path,
        swept: Mapping[str, Sequence[object]],
        *,
        skipped: Callable[[dict[str, object]], bool] = lambda values: False,
    ) -> None:
        description = {
            "schema": 1,
            "grid_id": "a1b2c3",
            "swept": {k: [*v] for k, v in swept.items()},
        }
        (experiment / "grid_search.yaml").write_text(json.dumps(description))
        lines = []
        for index, combination in enumerate(itertools.product(*swept.values())):
            values = dict(zip(swept, combination, strict=True))
            line = {
                "index": index,
                "run_name": "_".join(map(str, combination)),
                "overrides": [],
                "values": values,
                "config_hash": None,
                "skipped_by": "a rule" if skipped(values) else None,
            }
            lines.append(json.dumps(line) + "\n")
        runs = experiment / "grids" / "a1b2c3" / "grid_search.jsonl"
        runs.parent.mkdir(parents=True)
        runs.write_text("".join(lines))

    return write


@pytest.fixture
def latex() -> None:
    """Real LaTeX; CI says EXPKIT_REQUIRE=latex, and its absence is then a failure."""
    support = latex_support.probe_latex(PlotStyle.load("Thesis"))
    if not support.works:
        if "latex" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
            pytest.fail(support.advice)
        pytest.skip(support.advice)


@pytest.fixture
def without_latex(monkeypatch, tmp_path) -> None:
    """A PATH on which there is no LaTeX."""
    python = tmp_path / "bin"
    python.mkdir()
    (python / "sh").symlink_to(shutil.which("sh"))
    monkeypatch.setenv("PATH", str(python))
    monkeypatch.setattr(latex_support, "_support_by_key", {})
    monkeypatch.setattr(latex_support, "_advice_given", set())
