"""`expkit logs` of runs that printed nothing to a file of their own."""

from slurm_app import RESUMABLE


def test_a_single_run_printed_to_its_console_and_has_a_training_log(app):
    app.write("train.py", RESUMABLE)
    app.run("train.py", "x=0", "epochs=1")

    output = app.expkit("logs", "0")
    assert "results/first/training/0/training.log" in output
    assert "completed" in output


def test_a_run_that_a_rule_skips_says_so_and_how_to_see_its_command(app):
    app.run("train.py", "-m", "_filters=['x == 2']")

    output = app.expkit("logs", "2", code=1)
    assert "2 has printed nothing: skipped by rule 1" in output
    assert "show results/first 2` shows its configuration, and the command that runs it" in output


def test_a_run_that_waits_says_for_what(app):
    app.touch("hold")
    app.submit("hydra.launcher.array_parallelism=1")
    app.wait_for_calls(1)
    waiting = next(name for name, state in app.states().items() if state == "pending")

    output = app.expkit("logs", waiting)
    assert f"{waiting} has printed nothing yet: pending (" in output
    assert "--follow waits for it" in output
    app.expkit("cancel")
