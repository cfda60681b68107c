"""When figures are drawn during the runs, by a small verb that notes its calls."""

import os
import time
from pathlib import Path

import pytest

from expkit_hydra._after.drawing import Drawing
from expkit_hydra._after.processes import VerbStarter

MAIN = """
import os, sys, time
from pathlib import Path

folder = Path(sys.argv[2])
with (folder / "calls").open("a") as calls:
    calls.write(f"{os.nice(0)}\\n")
variables = os.environ.get("RUN"), os.environ.get("EXPKIT_RUN")
(folder / "place").write_text(f"{Path.cwd()} {variables}")
while (folder / "hang").exists():
    time.sleep(0.01)
if (folder / "broken").exists():
    sys.exit("there is no disk left")
"""


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def experiment(tmp_path, monkeypatch) -> Path:
    package = tmp_path / "siblings" / "little"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(MAIN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    run = tmp_path / "training" / "run"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").touch()
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drawing(experiment, clock):
    drawing = Drawing(experiment, "little", VerbStarter.of_this_process(), clock=clock)
    yield drawing
    drawing.stop()


def calls(experiment: Path) -> list[str]:
    path = experiment / "calls"
    return path.read_text().split() if path.exists() else []


def wait_for_calls(experiment: Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(calls(experiment)) < number:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_the_first_drawing_waits_for_metrics_and_for_the_sweep_to_last(experiment, clock, drawing):
    metrics = experiment / "training" / "run" / "metrics.jsonl"
    metrics.unlink()
    drawing.poll()
    clock.now_s = 10
    drawing.poll()
    assert drawing._process is None

    metrics.touch()
    drawing.poll()
    drawing.wait()
    assert len(calls(experiment)) == 1


def test_a_drawing_during_the_runs_gives_way_to_them_and_is_the_only_one(
    experiment, clock, drawing
):
    (experiment / "hang").touch()
    clock.now_s = 5
    drawing.poll()
    wait_for_calls(experiment, 1)

    clock.now_s = 1000
    drawing.poll()
    first = drawing._process
    assert os.getpriority(os.PRIO_PROCESS, first.pid) == os.nice(0) + 10

    (experiment / "hang").unlink()
    first.wait()
    assert len(calls(experiment)) == 1


def test_what_a_run_does_to_the_process_does_not_matter(experiment, drawing, monkeypatch):
    before = Path.cwd()
    for name in ("RUN", "EXPKIT_RUN"):
        monkeypatch.setenv(name, "1")
    monkeypatch.chdir(experiment)

    drawing.start()

    assert drawing.wait() == []
    assert (experiment / "place").read_text() == f"{before} (None, None)"


def test_pauses_grow_and_are_long_beside_a_drawing(experiment, clock, drawing):
    begins = []
    while len(begins) < 4:
        clock.now_s += 1
        drawing.poll()
        if drawing._process is not None:
            begins.append(clock.now_s)
            drawing._process.wait()
            clock.now_s += 2 if len(begins) == 3 else 0  # the third takes two seconds more

    first, second, third, fourth = begins
    assert first == 5
    assert second - first == pytest.approx(1 / 0.03, abs=2)  # ended when looked at, 1 s later
    assert third - second == pytest.approx(1 / 0.03, abs=2)
    assert fourth - third == pytest.approx(3 + 3 / 0.03, abs=2)


def test_what_is_drawn_is_ended_when_the_runs_have_something_newer(experiment, clock, drawing):
    (experiment / "hang").touch()
    clock.now_s = 5
    drawing.poll()
    outdated = drawing._process
    wait_for_calls(experiment, 1)

    drawing.stop()

    assert outdated.returncode is not None
    assert not drawing.succeeded


def test_the_drawing_after_the_runs_says_what_went_wrong(experiment, clock, drawing):
    (experiment / "broken").touch()
    clock.now_s = 5
    drawing.poll()
    drawing.stop()

    drawing.start()

    complaint, failure = drawing.wait()
    assert complaint == "plot: there is no disk left"
    assert failure.startswith("plot ended with exit code 1; the runs are not affected. Again: ")
    assert not drawing.succeeded
    assert calls(experiment)[-1] == str(os.nice(0))
