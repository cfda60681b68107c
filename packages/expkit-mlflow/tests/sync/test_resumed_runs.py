"""MLflow holds the points of a resumed run that the run itself kept, each once, and no others."""

import math

import pytest

from expkit_mlflow import MLFlowLogger, sync

GRID = {"EXPKIT_GRID": "grids/a1b2c3"}


def attempt(experiment, kit, points, *, kept=None, number=1, end=None, timer=None):
    """One attempt, as Bookkeeping would log it; `kept` is what metrics.jsonl held after resume."""
    run = kit.record(experiment / "training" / "a", attempt=number)
    tracking = MLFlowLogger(environ=GRID)
    tracking.open(run, {})
    if kept is not None:
        tracking.reconcile(kept, cut=False)
        tracking.reconcile(kept, cut=True)
    for metrics, step, time in points:
        tracking.log_metrics(metrics, step, time)
    if timer is not None:
        tracking.log_timer("epoch", {"count": timer})
    if end is None:
        tracking._journal.close()  # as after a SIGKILL
    else:
        tracking.close(end)


def losses(values, *, start=0, time=100.0):
    return [({"loss": value}, step, time + step) for step, value in enumerate(values, start)]


def loss_in_mlflow(experiment, kit):
    run = kit.runs(experiment)["a"]
    return kit.history(experiment, run, "loss"), run.data.metrics.get("loss")


@pytest.mark.parametrize("synced_between", [False, True])
def test_what_came_after_the_checkpoint_makes_way(experiment, kit, synced_between):
    first = losses([3.0, 2.0, 1.5, 1.0])
    attempt(experiment, kit, first)
    if synced_between:
        sync(experiment)
        assert loss_in_mlflow(experiment, kit) == ([(0, 3.0), (1, 2.0), (2, 1.5), (3, 1.0)], 1.0)
    again = losses([1.4], start=2, time=200.0)
    attempt(experiment, kit, again, kept=first[:2], number=2, end="completed")
    sync(experiment)
    assert loss_in_mlflow(experiment, kit) == ([(0, 3.0), (1, 2.0), (2, 1.4)], 1.4)
    (experiment / "mlflow.db").unlink()  # made anew from the journal
    sync(experiment)
    assert loss_in_mlflow(experiment, kit) == ([(0, 3.0), (1, 2.0), (2, 1.4)], 1.4)


def test_each_resume_of_several_makes_void_what_it_goes_back_over(experiment, kit):
    first = losses([3.0, 2.0])
    attempt(experiment, kit, first)
    sync(experiment)
    attempt(experiment, kit, losses([2.1, 1.0], start=1, time=200.0), kept=first[:1], number=2)
    sync(experiment)
    last = losses([2.2], start=1, time=300.0)
    attempt(experiment, kit, last, kept=first[:1], number=3, end="completed")
    sync(experiment)
    sync(experiment)
    assert loss_in_mlflow(experiment, kit) == ([(0, 3.0), (1, 2.2)], 2.2)


def test_a_run_without_checkpoint_starts_over_with_nothing(experiment, kit):
    attempt(experiment, kit, losses([3.0, 2.0, 1.0]))
    sync(experiment)
    attempt(experiment, kit, losses([2.5], time=200.0), kept=[], number=2, end="completed")
    sync(experiment)
    assert loss_in_mlflow(experiment, kit) == ([(0, 2.5)], 2.5)


def test_the_same_point_at_the_same_millisecond_is_kept(experiment, kit):
    first = losses([3.0, 2.0])
    attempt(experiment, kit, first)
    sync(experiment)
    attempt(experiment, kit, first[1:], kept=first[:1], number=2, end="completed")
    sync(experiment)
    assert loss_in_mlflow(experiment, kit) == ([(0, 3.0), (1, 2.0)], 2.0)


def test_points_that_the_journal_lost_are_added_in_the_order_of_the_run(experiment, kit):
    every = losses([3.0, 2.0, math.nan, 0.5])
    attempt(experiment, kit, every[:1])
    attempt(experiment, kit, [], kept=every, number=2, end="completed")
    sync(experiment)
    assert loss_in_mlflow(experiment, kit) == ([(0, 3.0), (1, 2.0), (3, 0.5)], 0.5)
    assert kit.runs(experiment)["a"].data.tags["nonfinite.loss"] == "NaN at step 2"


def test_timers_of_an_attempt_that_is_done_again_are_replaced(experiment, kit):
    first = losses([3.0, 2.0])
    attempt(experiment, kit, first, end="interrupted", timer=2)
    sync(experiment)
    attempt(experiment, kit, [], kept=first, number=2, end="completed", timer=4)
    sync(experiment)
    run = kit.runs(experiment)["a"]
    assert kit.history(experiment, run, "time.epoch.count") == [(1, 4.0)]


def test_names_that_the_user_logs_beside_bookkeeping_stay(experiment, kit):
    first = losses([3.0, 2.0])
    attempt(experiment, kit, [first[0], ({"own": 1.0}, 0, 50.0), first[1]])
    attempt(experiment, kit, [], kept=first, number=2, end="completed")
    sync(experiment)
    run = kit.runs(experiment)["a"]
    assert kit.history(experiment, run, "own") == [(0, 1.0)]
