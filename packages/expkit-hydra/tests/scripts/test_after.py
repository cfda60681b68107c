"""What the sweep does with the siblings' commands: here small ones, found as real ones are."""

import signal

import pytest

MAIN = """
import os, sys
from pathlib import Path

verb, folder, *options = sys.argv[1:]
said = Path(folder, f"{verb}.said")
with said.open("a") as file:
    file.write(f"{' '.join(options)} EXPKIT_GRID={os.environ.get('EXPKIT_GRID')}\\n")
if verb == "sync":
    sys.stdin.read()
    with said.open("a") as file:
        file.write("stdin was closed\\n")
if Path("unavailable").exists() and verb == "report":
    sys.exit(69)
if Path("broken").exists():
    sys.exit("there is no disk left")
"""


@pytest.fixture
def siblings(app, monkeypatch):
    """An app whose runs log metrics and keep a journal, beside a package with sync and plot."""
    package = app.folder / "siblings" / "little"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(MAIN)
    information = package.parent / "little-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: little\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[expkit.commands]\nsync = little.commands:sync\nplot = little.commands:plot\n"
    )
    script = app.folder / "train.py"
    files = """
    folder = Path(f"results/first/training/{cfg.x}")
    for name in ("metrics.jsonl", "tracking.jsonl"):
        (folder / name).touch()
    hang = Path("""
    script.write_text(script.read_text().replace("\n    hang = Path(", files))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return app


def said(app, verb: str) -> list[str]:
    path = app.experiment / f"{verb}.said"
    return path.read_text().splitlines() if path.exists() else []


def test_tracking_is_synchronised_beside_the_runs_and_drained_once_at_the_end(siblings):
    siblings.touch("hang2")
    process = siblings.start("train.py", "-m")
    siblings.wait_for_call(2)
    siblings.wait_until(lambda: said(siblings, "sync"))
    assert said(siblings, "sync") == ["--follow EXPKIT_GRID=None"]
    assert said(siblings, "plot") == []
    siblings.remove("hang2")

    siblings.finish(process)

    assert process.returncode == 0
    assert said(siblings, "sync")[1:] == ["stdin was closed"]
    assert said(siblings, "plot") == [" EXPKIT_GRID=None"]


def test_a_report_is_made_once_after_the_runs_and_a_missing_package_is_no_complaint(siblings):
    entries = siblings.folder / "siblings" / "little-1.0.dist-info" / "entry_points.txt"
    entries.write_text(entries.read_text() + "report = little.commands:report\n")
    output = siblings.train("-m")
    assert said(siblings, "report") == [" EXPKIT_GRID=None"]
    assert "report" not in output
    siblings.touch("unavailable")
    (siblings.experiment / "report.html").touch()
    output = siblings.train("-m", "x=7")
    assert len(said(siblings, "report")) == 2
    assert "report ended" not in output
    assert "report                 results/first/report.html" in output


def test_a_sibling_that_fails_is_reported_and_costs_nothing(siblings):
    siblings.touch("broken")

    output = siblings.train("-m")

    assert "3 completed" in output
    assert "there is no disk left" in output
    assert "plot ended with exit code 1; the runs are not affected. Again: " in output
    assert "sync ended with exit code 1; the journals are complete. Again: " in output


def test_nothing_is_started_that_the_user_does_not_want(siblings):
    siblings.train("-m", "expkit.after=[]")

    assert said(siblings, "sync") == []
    assert said(siblings, "plot") == []


def test_ctrl_c_lets_tracking_drain_and_draws_nothing(siblings):
    siblings.touch("hang2")
    process = siblings.start("train.py", "-m")
    siblings.wait_for_call(2)

    siblings.finish(process, signal.SIGINT)

    assert said(siblings, "sync")[-1:] == ["stdin was closed"]
    assert said(siblings, "plot") == []


def test_a_grid_without_anything_new_synchronises_nothing(siblings):
    siblings.train("-m")
    (siblings.experiment / "plots").mkdir()
    before = said(siblings, "sync"), said(siblings, "plot")

    siblings.train("-m")

    assert (said(siblings, "sync"), said(siblings, "plot")) == before


def test_what_a_killed_sweep_left_undone_after_its_runs_is_done_by_the_next(siblings):
    siblings.touch("broken")  # the commands fail, as if they were killed
    siblings.train("-m")
    (siblings.experiment / "plots").mkdir()  # of an earlier sweep
    siblings.remove("broken")
    before = len(said(siblings, "sync"))

    output = siblings.train("-m")

    assert "3 completed, nothing to do" in output
    assert len(said(siblings, "sync")) > before
    after = said(siblings, "sync"), said(siblings, "plot")
    siblings.train("-m")
    assert (said(siblings, "sync"), said(siblings, "plot")) == after
