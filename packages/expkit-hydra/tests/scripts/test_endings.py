"""How a run ends is recorded, whatever ended it and under every launcher, and the others go on."""

import json
import signal

import pytest

SCRIPT = """
import asyncio
import os
import signal
import sys

import hydra


class Odd(BaseException):
    def __str__(self):
        raise self

    def __bool__(self):
        raise self


class Unpicklable(Exception):
    def __reduce__(self):
        os._exit(7)


class Foreign(Exception):
    # Can be made only in the process that raised it.
    def __init__(self, pid):
        if pid != os.getpid():
            raise RuntimeError("made elsewhere")
        super().__init__(pid)


def cycle():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def recurse():
    recurse()


def throw(error):
    raise error


ENDINGS = {
    "surrogate": lambda: throw(ValueError(b"caf\\xe9.wav".decode("utf-8", "surrogateescape"))),
    "control": lambda: throw(ValueError("a\\0b\\x1b[2Jc\\rd")),
    "long": lambda: throw(ValueError("x" * 10_000_000)),
    "cancelled": lambda: throw(asyncio.CancelledError()),
    "generator": lambda: throw(GeneratorExit()),
    "odd": lambda: throw(Odd()),
    "unpicklable": lambda: throw(Unpicklable("why")),
    "foreign": lambda: throw(Foreign(os.getpid())),
    "cycle": cycle,
    "group": lambda: throw(BaseExceptionGroup("both", [asyncio.CancelledError(), ValueError("a")])),
    "recursion": recurse,
    "memory": lambda: throw(MemoryError()),
    "exit3": lambda: sys.exit(3),
    "exit_text": lambda: sys.exit("no data"),
    "exit_list": lambda: sys.exit([0]),
    "exit0": lambda: sys.exit(0),
    "good": lambda: None,
}


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    ENDINGS[cfg.kind]()


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: first
kind: good
expkit: {after: []}
"""
TYPES = {
    "surrogate": "ValueError", "control": "ValueError", "long": "ValueError",
    "cancelled": "CancelledError", "generator": "GeneratorExit", "odd": "Odd",
    "unpicklable": "Unpicklable", "foreign": "Foreign", "cycle": "ValueError",
    "group": "BaseExceptionGroup", "recursion": "RecursionError", "memory": "MemoryError",
    "exit3": "SystemExit", "exit_text": "SystemExit", "exit_list": "SystemExit",
}  # fmt: skip
KINDS = ",".join([*TYPES, "exit0", "good"])
LAUNCHERS = {
    "in process": [],
    "processes": ["hydra.launcher.n_jobs=2"],
    "Hydra's launcher": ["hydra/launcher=basic"],
    "Hydra's sweeper": ["hydra/sweeper=basic"],
    "Hydra's own": ["hydra/sweeper=basic", "hydra/launcher=basic"],
}


@pytest.fixture
def endings(app):
    """An app whose run ends as its `kind` says."""
    (app.folder / "train.py").write_text(SCRIPT)
    (app.folder / "config.yaml").write_text(CONFIG)
    return app


def error_of(app, name):
    return app.records()[name]["error"]


@pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS)
def test_each_ending_of_a_sweep_is_recorded_and_the_other_runs_go_on(endings, launcher):
    output = endings.train("-m", f"kind={KINDS}", *launcher, code=1)

    expected = {**dict.fromkeys(TYPES, "failed"), "exit0": "completed", "good": "completed"}
    assert endings.states() == expected
    assert {name: error_of(endings, name)["type"] for name in TYPES} == TYPES
    assert error_of(endings, "surrogate")["message"] == r"caf\udce9.wav"
    assert error_of(endings, "control")["message"] == "a\0b\x1b[2Jc\rd"
    assert error_of(endings, "long")["message"].endswith("… (9,990,000 characters left out)")
    assert error_of(endings, "exit_text")["message"] == "no data"
    for name in ("cancelled", "surrogate", "cycle"):
        assert "train.py" in error_of(endings, name)["traceback"]
    assert "During handling of the above exception" not in output
    assert "its process" not in output
    if "basic" not in " ".join(launcher):
        assert "Traceback" not in output
        assert "\x1b" not in output


@pytest.mark.parametrize("kind", [*TYPES, "exit0"])
def test_each_ending_of_a_single_run_is_recorded_with_its_exit_code(endings, kind):
    code = {"exit3": 3, "exit0": 0}.get(kind, 1)
    output = endings.train(f"kind={kind}", code=code)

    record = endings.records()[kind]
    if kind == "exit0":
        assert record["state"] == "completed"
        return
    assert record["state"] == "failed"
    assert record["error"]["type"] == TYPES[kind]
    assert output.splitlines()[-1].startswith(f"Run {kind} failed: results/first/training/{kind}.")


def test_an_error_of_hydras_within_a_single_run_is_the_runs(endings):
    output = endings.train("kind=good", "hydra.job_logging.root.level=LOUD", code=1)

    record = endings.records()["good"]
    assert record["state"] == "failed"
    assert "root" in record["error"]["message"]
    assert "KeyboardInterrupt" not in json.dumps(record)
    assert "Run good failed" in output


def test_a_single_run_that_vanishes_without_a_word_is_lost(app):
    (app.folder / "train.py").write_text(SCRIPT.replace("ENDINGS[cfg.kind]()", "os._exit(7)"))
    (app.folder / "config.yaml").write_text(CONFIG)

    app.train("kind=good", code=7)

    assert app.states() == {"good": "running"}
    assert "lost" in app.command("status", "results/first", code=1)


@pytest.mark.parametrize(
    ("number", "code", "kind"),
    [(signal.SIGINT, None, "KeyboardInterrupt"), (signal.SIGTERM, 143, "SystemExit")],
)
def test_a_signal_interrupts_a_single_run_of_a_script_that_handles_none(app, number, code, kind):
    app.touch("hang2")
    process = app.start("train.py", "x=2")
    app.wait_for_call(2)
    output = app.finish(process, number)

    record = app.records()["2"]
    assert (record["state"], record["error"]["type"]) == ("interrupted", kind), output
    assert code is None or process.returncode == code
    assert process.returncode != 0
    assert "Run 2 was interrupted" in output


def test_a_record_that_cannot_be_written_makes_a_completed_run_fail_aloud(endings):
    text = SCRIPT.replace(
        "ENDINGS[cfg.kind]()",
        "import shutil; shutil.rmtree('results/first/training/good')",
    )
    (endings.folder / "train.py").write_text(text)

    output = endings.train("kind=good", code=1)

    assert "The end of run good was not recorded" in output
    assert "Traceback" not in output


def test_what_a_class_of_the_user_raises_in_the_sweeps_process_costs_no_other_run(endings):
    # Its module exists only where the run has made it.
    text = SCRIPT.replace(
        "    ENDINGS[cfg.kind]()",
        """    import types
    late = types.ModuleType("late")
    exec("class Late(Exception): pass", late.__dict__)
    sys.modules["late"] = late
    if cfg.kind == "good":
        raise late.Late("why")""",
    )
    (endings.folder / "train.py").write_text(text)

    output = endings.train("-m", "kind=good,long,exit0", "hydra.launcher.n_jobs=2", code=1)

    states = {"good": "failed", "long": "completed", "exit0": "completed"}
    assert endings.states() == states
    assert "Late: why" in output
    assert "Traceback" not in output
