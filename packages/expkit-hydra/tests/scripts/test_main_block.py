"""Code beside the call of the app under `if __name__ == "__main__":`, in the processes of runs."""

import textwrap

import pytest

START = """
import os
import sys
from pathlib import Path

import hydra

SCALE = 1
RESULTS = []


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    with Path("calls.txt").open("a") as calls:
        calls.write(f"{cfg.x * SCALE}\\n")


"""
JOBS = ("-m", "hydra.launcher.n_jobs=2")


@pytest.fixture
def write(app):
    """Write train.py with this in the end; returns the number of a line in that."""

    def write(end: str) -> None:
        (app.folder / "train.py").write_text(START + textwrap.dedent(end))

    return write


def line_of(app, text: str) -> int:
    lines = (app.folder / "train.py").read_text().splitlines()
    return lines.index(text) + 1


def test_code_before_the_call_is_executed_for_each_run(app, write):
    write("""
        def start():
            global SCALE
            SCALE = int(os.environ.setdefault("OF_THE_BLOCK", "10"))
            with Path("entered.txt").open("a") as entered:
                print(os.getpid(), file=entered)
            main()
            Path("after.txt").open("x").close()

        if __name__ == "__main__":
            start()
    """)
    output = app.train(*JOBS)

    assert sorted(app.calls()) == ["10", "20", "30"]
    assert len((app.folder / "entered.txt").read_text().split()) == 5  # the sweep, a trial, 3 runs
    assert (app.folder / "after.txt").exists()  # once, or opening it would have failed
    assert "train.py, line" not in output


def test_nothing_is_tried_out_where_the_block_is_the_call_alone(app, write):
    write("""
        with Path("started.txt").open("a") as started:
            print(os.getpid(), file=started)

        if __name__ == "__main__":
            main()
    """)
    app.train(*JOBS)

    assert len((app.folder / "started.txt").read_text().split()) == 4


def test_a_block_that_cannot_be_executed_again_is_left_out_and_its_lines_are_named(app, write):
    write("""
        if __name__ == "__main__":
            SCALE = 10
            Path("lock").touch(exist_ok=False)
            main()
    """)
    output = app.train(*JOBS)
    first = line_of(app, 'if __name__ == "__main__":')

    assert f"train.py, lines {first} to {first + 3}: left out in the processes" in output
    assert f"Line {first + 2} fails there: FileExistsError" in output
    assert output.index("left out") < output.index("completed")
    assert sorted(app.calls()) == ["1", "2", "3"]


def test_where_nothing_can_be_left_out_the_grid_is_refused_before_it_starts(app, write):
    write("""
        def start():
            Path("lock").touch(exist_ok=False)

            def inner(cfg):
                Path(f"call{cfg.x}").touch()

            hydra.main(version_base="1.3", config_path=".", config_name="config")(inner)()

        if __name__ == "__main__":
            start()
    """)
    output = app.train(*JOBS, code=1)

    assert "cannot be executed again" in output
    assert "'start.<locals>.inner' is not at the top level of '__main__'" in output
    assert app.states() == {}


def test_threads_that_outlive_the_call_would_keep_the_processes_alive(app, write):
    write("""
        if __name__ == "__main__":
            import threading

            stop = threading.Event()
            threading.Thread(target=stop.wait, name="server").start()
            main()
            stop.set()
    """)
    output = app.train(*JOBS)

    assert "It leaves threads running: server." in output
    assert sorted(app.calls()) == ["1", "2", "3"]


def test_code_after_the_call_that_reads_variables_is_named(app, write):
    write("""
        if __name__ == "__main__":
            main()
            print("best", max(RESULTS, default=None))
    """)
    line = line_of(app, "    main()") + 1

    assert f"train.py, line {line}: comes after the app" in app.train(*JOBS)


def test_a_loop_around_the_call_is_named(app, write):
    write("""
        if __name__ == "__main__":
            for scale in (10, 20):
                SCALE = scale
                main()
    """)
    line = line_of(app, "    for scale in (10, 20):")

    assert f"train.py, line {line}: the app is called in a loop" in app.train(*JOBS)


def test_the_app_of_the_sweep_is_found_among_several(app, write):
    write("""
        @hydra.main(version_base="1.3", config_path=".", config_name="config")
        def prepare(cfg):
            Path("prepared.txt").open("x").close()

        if __name__ == "__main__":
            arguments = sys.argv[1:]
            sys.argv[1:] = ["x=0"]
            prepare()
            sys.argv[1:] = arguments
            main()
    """)
    app.train(*JOBS)

    assert sorted(app.calls()) == ["1", "2", "3"]


@pytest.mark.parametrize("guard", ["", "with open(os.devnull):\n    "])
def test_an_app_without_a_guard_is_not_started_once_more(app, write, guard):
    write(f"{guard}main()\n")
    app.train(*JOBS)

    assert sorted(app.calls()) == ["1", "2", "3"]


CALLABLES = {
    "partial": "functools.partial(train, scale=10)",
    "object": "Trainer(10)",
    "bound method": "Trainer(10).fit",
}


@pytest.mark.parametrize("task", CALLABLES)
def test_whatever_can_be_called_is_run_and_names_its_experiment(app, write, task):
    config = app.folder / "config.yaml"
    config.write_text(config.read_text().replace("experiment_id: first\n", ""))
    write(f"""
        import functools

        def train(cfg, scale):
            Path("calls.txt").open("a").write(f"{{cfg.x * scale}}\\n")

        class Trainer:
            def __init__(self, scale):
                self.scale = scale

            def __call__(self, cfg):
                train(cfg, self.scale)

            def fit(self, cfg):
                train(cfg, self.scale)

        if __name__ == "__main__":
            task = {CALLABLES[task]}
            hydra.main(version_base="1.3", config_path={str(app.folder)!r}, config_name="config")(
                task
            )()
    """)
    app.train(*JOBS)
    app.train("x=4")

    assert sorted(app.calls()) == ["10", "20", "30", "40"]
    runs = (app.folder / "results/train/training").glob("*/run.json")
    assert sorted(path.parent.name for path in runs) == ["1", "2", "3", "4"]
