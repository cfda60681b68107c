"""The script as a user starts it: a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import hydra

@hydra.main(version_base="1.3", config_path={config_path!r}, config_name="config")
def main(cfg):
    if cfg.get("fail"):
        raise RuntimeError("no convergence")
    return cfg.seed

if __name__ == "__main__":
    main()
"""


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.fixture
def folder(app):
    app.write("train.py", SCRIPT.format(config_path="conf"))
    return app.folder


def test_a_script_that_imports_nothing_of_ours_gets_names_skips_and_a_dry_run(folder):
    dry = start(folder, "-m", "expkit.dry_run=true")
    first = start(folder, "-m", "seed=1")
    again = start(folder, "-m", "seed=1")

    assert "8 in the grid, 2 skipped by rule 1, 6 to run" in dry.stdout
    assert dry.returncode == first.returncode == again.returncode == 0
    assert sorted(path.name for path in (folder / "results/digits/training").iterdir()) == [
        "cnn_sgd_0.001_1",
        "cnn_sgd_0.1_1",
        "mlp_sgd_0.001_1",
    ]
    assert "3 completed, nothing to do" in again.stdout
    grid = (folder / "results/digits/grid_search.yaml").read_text()
    assert "command:\n- train.py\n- -m\n- seed=1\n" in grid


def test_failures_end_the_sweep_with_exit_code_1_and_a_message(folder):
    ended = start(folder, "-m", "+fail=true", "seed=1", "model=cnn")

    assert ended.returncode == 1
    assert "2 of 2 runs failed; the same command tries again:" in ended.stderr
    assert "cnn_sgd_0.1_1, cnn_sgd_0.001_1: RuntimeError: no convergence" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_mistake_in_the_grid_is_one_message_without_a_traceback(folder):
    ended = start(folder, "-m", "_filters=['sead == 1']")

    assert ended.returncode == 1
    assert "reads 'sead', which no configuration of this grid has" in ended.stderr
    assert "Traceback" not in ended.stderr


STRUCTURED = """
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf


class Kind(Enum):
    SMALL = 1
    LARGE = 2


@dataclass
class Config:
    seed: int = 1
    kind: Kind = Kind.SMALL
    data: Path = Path("data")


ConfigStore.instance().store(name="schema", node=Config)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    assert OmegaConf.get_type(cfg) is Config
    assert isinstance(cfg.kind, Kind) and isinstance(cfg.data, Path)


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_classes_of_the_script_itself_are_found_again(folder, n_jobs):
    (folder / "train.py").write_text(STRUCTURED)
    (folder / "conf/config.yaml").write_text("defaults: [expkit, schema, _self_]\n")

    ended = start(folder, "-m", "kind=SMALL,LARGE", f"hydra.launcher.n_jobs={n_jobs}")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert sorted(path.name for path in (folder / "results/train/training").iterdir()) == [
        "LARGE",
        "SMALL",
    ]


def test_a_dry_run_of_a_single_run_starts_nothing(folder):
    ended = start(folder, "expkit.dry_run=true", "model=cnn")

    assert ended.returncode == 0
    assert "One run, cnn_adam_0.1_1. expkit.dry_run=true: nothing is started." in ended.stderr
    assert not (folder / "results").exists()


def test_info_defaults_shows_what_the_line_brings(folder):
    shown = start(folder, "--info", "defaults").stdout

    assert "expkit" in shown
    assert "hydra/sweeper/expkit" in shown
    assert "hydra/launcher/expkit" in shown


def test_the_configuration_can_be_shown_resolved(folder):
    shown = start(folder, "--cfg", "job", "--resolve", "model=cnn")

    assert "run_name: cnn_adam_0.1_1" in shown.stdout


def test_config_dir_of_the_command_line_wins_over_the_packaged_file(folder):
    (folder / "train.py").write_text(SCRIPT.format(config_path=None))
    (folder / "conf" / "expkit.yaml").write_text("# @package _global_\nresults_dir: mine\n")

    shown = start(folder, "--config-dir", "conf", "--cfg", "job")

    assert "results_dir: mine" in shown.stdout, shown.stderr


def test_the_grid_is_recorded_as_docs_formats_says(folder):
    start(folder, "-m", "model=cnn", "optimizer.lr=0.1")

    (grid,) = (folder / "results/digits/grids").iterdir()
    lines = [json.loads(line) for line in (grid / "grid_search.jsonl").read_text().splitlines()]
    assert list(lines[0]) == [
        "index",
        "run_name",
        "overrides",
        "values",
        "config_hash",
        "skipped_by",
    ]
    assert [line["run_name"] for line in lines] == ["cnn_sgd_0.1_1", "cnn_sgd_0.1_2"]
    record = json.loads((folder / "results/digits/training/cnn_sgd_0.1_1/run.json").read_text())
    assert record["grid_id"] == grid.name
    assert record["swept"] == lines[0]["values"]
    assert record["config_hash"] == lines[0]["config_hash"]
