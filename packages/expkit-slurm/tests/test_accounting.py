"""A cluster with slurmdbd: what sacct adds, and submit limits."""

import getpass

import pytest


def test_a_grid_and_its_failures_are_told_the_same_with_accounting(accounted_app):
    app = accounted_app
    app.touch("fail1", "kill2")
    output = app.sweep(code=1)

    assert "1 completed, 1 lost, 1 failed" in output
    job = next(iter(app.statuses().values())).job.partition("_")[0]

    def states() -> list[str]:
        return app.cluster.run("sacct", "-X", "-n", "-P", "-o", "State", "-j", job).split()

    # What dependencies see.
    app.wait_for(lambda: sorted(states()) == ["COMPLETED", "FAILED", "FAILED"])


@pytest.mark.skipif(getpass.getuser() != "root", reason="limits are set for root")
def test_a_submit_limit_leaves_what_was_accepted_and_the_rest_for_later(limited_app):
    app = limited_app
    app.touch("hold")
    output = app.submit("x=range(14)")

    assert "submitted 10 of 14 runs" in output or "submitted 7 of 14 runs" in output
    assert "runs unsubmitted; `expkit retry" in output
    assert "AssocMaxSubmitJobLimit" in output
    states = list(app.states().values())
    assert states.count("unsubmitted") == (4 if "10 of 14" in output else 7)
    assert "nothing" not in app.expkit("status", code=1)
    app.remove("hold")
    app.cluster.wait_idle()
    app.expkit("retry", "--state", "unsubmitted")
    app.wait()

    assert set(app.states().values()) == {"completed"}
    assert sorted(app.calls()) == sorted(f"{x} first" for x in range(14))


@pytest.mark.skipif(getpass.getuser() != "root", reason="limits are set for root")
def test_a_limit_that_takes_nothing_is_an_error_in_slurms_words(limited_app):
    app = limited_app
    app.cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=0")
    output = app.sweep(code=1)

    assert "AssocMaxSubmitJobLimit" in output
    assert set(app.states().values()) == {"unsubmitted"}
