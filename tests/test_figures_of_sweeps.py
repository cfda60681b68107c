"""Figures while a grid still runs, and what a sweep's last lines say about them."""

import contextlib
import signal
import time
from pathlib import Path

import pytest

TRAIN = """
import pathlib
import time

import hydra

from expkit_bookkeeping import Bookkeeping


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    with Bookkeeping.from_config(cfg) as run:
        for epoch in range(2):
            run.log_metrics({"aaa": cfg.x, "val/acc": cfg.x + epoch}, step=epoch)
        if cfg.x == cfg.waits:
            while not list(pathlib.Path("results/e/plots").glob("*.png")):
                time.sleep(0.05)
            while pathlib.Path("hold").exists():
                time.sleep(0.05)


main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: e
x: 1
waits: null
expkit: {metric: val/acc}
hydra: {sweeper: {params: {x: [1, 2]}}}
"""


@pytest.fixture
def project(empty):
    (empty.folder / "train.py").write_text(TRAIN)
    (empty.folder / "config.yaml").write_text(CONFIG)
    return empty


def figures(project) -> set[str]:
    return {path.name for path in (project.folder / "results" / "e" / "plots").glob("*.p*")}


def is_being_drawn(experiment: Path) -> bool:
    for file in Path("/proc").glob("*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if {"expkit_plotting", str(experiment)} <= {*file.read_text().split("\0")}:
                return True
    return False


def test_the_last_lines_name_the_figure_of_the_metric(project):
    done = project.run("python", "train.py", "-m")

    assert "results/e/plots/val_acc.png" in done.stdout
    assert figures(project) == {"aaa.png", "aaa.pdf", "val_acc.png", "val_acc.pdf"}

    project.run("expkit", "plot", "results/e", "--metric", "val/acc", "--group-by", "none")
    again = project.run("python", "train.py", "-m")
    assert "results/e/plots/val_acc.png" in again.stdout


def test_figures_are_drawn_while_runs_go_on_and_show_all_of_them_at_the_end(project):
    done = project.run("python", "train.py", "-m", "waits=1")  # which ends once it is drawn

    assert "2 completed" in done.stdout
    check = project.run("expkit", "plot", "results/e")
    assert "2 plots over all runs (up to date)" in check.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_ends_early_leaves_no_drawing_behind(project, number):
    (project.folder / "hold").touch()
    process = project.start("python", "train.py", "-m", "waits=1")
    experiment = project.folder / "results" / "e"
    deadline = time.monotonic() + 60
    while not is_being_drawn(experiment):
        assert time.monotonic() < deadline, "nothing was drawn"
        time.sleep(0.02)

    process.send_signal(number)
    process.communicate()

    while is_being_drawn(experiment):
        assert time.monotonic() < deadline, "a drawing goes on"
        time.sleep(0.05)
