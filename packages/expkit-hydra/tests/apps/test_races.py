"""Another process acts between the look at a run and what follows, each time for certain."""

import subprocess
import sys

import pytest

import expkit_bookkeeping.launching as launching
from expkit_bookkeeping import find_runs, read_run
from expkit_bookkeeping.reading import removed_runs
from expkit_hydra import cleanup

CLAIM = """
import sys
from pathlib import Path
from expkit_bookkeeping.launching import claim_run
claim = claim_run(Path(sys.argv[1]), config_hash=sys.argv[2] or None)
if sys.argv[3]:
    claim.finish(sys.argv[3])
"""
MOVE = """
import sys
from pathlib import Path
from expkit_bookkeeping.launching import move_to_trash
move_to_trash(Path(sys.argv[1]), reason="cleanup")
"""
ONE_RUN = ("model=cnn", "optimizer.lr=0.1", "seed=1")
SINGLE = (*ONE_RUN, "optimizer=sgd")
FRESH = ("expkit.fresh=true",)
NAME = "cnn_sgd_0.1_1"


def elsewhere(script, *arguments):
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True)


@pytest.fixture
def before(monkeypatch):
    """Lets something happen once before a function of bookkeeping is called."""

    def before(name, act):
        function, pending = getattr(launching, name), [act]

        def act_and_call(*arguments, **options):
            while pending:
                pending.pop()()
            return function(*arguments, **options)

        monkeypatch.setattr(launching, name, act_and_call)

    return before


@pytest.fixture
def folder(app):
    return app.experiment / "training" / NAME


@pytest.mark.parametrize("first", [None, "", "failed"])
def test_a_run_that_is_completed_before_the_sweep_claims_it_is_not_trained_again(
    app, folder, before, capfd, first
):
    app.sweep(*ONE_RUN, "expkit.dry_run=true")
    app.sweep(*ONE_RUN)
    config_hash = app.grid().runs[0].config_hash
    app.seen.clear()
    launching.move_to_trash(folder, reason="cleanup")
    if first is not None:  # a run that was lost, or failed
        elsewhere(CLAIM, folder, config_hash, first)
    before("claim_run", lambda: elsewhere(CLAIM, folder, config_hash, "completed"))

    app.sweep(*ONE_RUN)

    assert app.seen == []
    record = read_run(folder)
    assert (record.state, record.attempt) == ("completed", 1 if first is None else 2)
    assert len(list((folder / "claims").iterdir())) == record.attempt
    assert "was completed by another process meanwhile" in capfd.readouterr().out


def test_a_run_that_is_completed_before_a_rerun_moves_it_stays(app, folder, before):
    app.sweep(*ONE_RUN)
    config_hash = app.grid().runs[0].config_hash
    app.seen.clear()
    before("move_to_trash", lambda: elsewhere(CLAIM, folder, config_hash, "completed"))

    app.sweep(*ONE_RUN, "expkit.rerun=all")

    assert app.seen == []
    assert (read_run(folder).state, read_run(folder).attempt) == ("completed", 2)
    assert removed_runs(app.experiment) == []


def test_a_run_that_another_rerun_moves_first_is_trained_in_a_new_folder(app, folder, before):
    app.sweep(*ONE_RUN)
    before("move_to_trash", lambda: elsewhere(MOVE, folder))

    app.sweep(*ONE_RUN, "expkit.rerun=all")

    assert app.names() == [NAME] * 2
    assert read_run(folder).attempt == 1
    assert len(removed_runs(app.experiment)) == 1


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("first", ["", "failed", "interrupted"])
def test_cleanup_leaves_a_run_that_is_completed_before_it_moves_it(
    app, folder, before, purge, first
):
    elsewhere(CLAIM, folder, "", first)
    before("move_to_trash", lambda: elsewhere(CLAIM, folder, "", "completed"))

    done = cleanup(app.experiment, dry_run=False, purge=purge)

    (removal,) = done.removals
    assert removal.trash is None
    assert "and is completed (attempt 2). It stays" in removal.kept
    assert [run.state for run in find_runs(app.experiment)] == ["completed"]
    assert removed_runs(app.experiment) == []


def test_cleanup_says_that_somebody_else_has_moved_a_run(app, folder, before):
    elsewhere(CLAIM, folder, "", "failed")
    before("move_to_trash", lambda: elsewhere(MOVE, folder))

    (removal,) = cleanup(app.experiment, dry_run=False).removals

    assert removal.trash is None
    assert str(folder) in removal.kept
    assert len(removed_runs(app.experiment)) == 1


@pytest.mark.parametrize(
    ("act", "options"),
    [("claim_run", ()), ("claim_run", FRESH), ("move_to_trash", FRESH)],
)
def test_a_single_run_leaves_one_that_is_completed_while_it_starts(
    app, folder, before, act, options
):
    elsewhere(CLAIM, folder, "", "failed")
    before(act, lambda: elsewhere(CLAIM, folder, "", "completed"))

    with pytest.raises(SystemExit, match="meanwhile"):
        app.run(*SINGLE, *options)

    assert app.seen == []
    assert read_run(folder).state == "completed"


def test_a_single_run_starts_anew_where_somebody_else_has_moved_the_former_one(app, folder, before):
    elsewhere(CLAIM, folder, "", "failed")
    before("move_to_trash", lambda: elsewhere(MOVE, folder))

    app.run(*SINGLE, *FRESH)

    assert (read_run(folder).state, read_run(folder).attempt) == ("completed", 1)
