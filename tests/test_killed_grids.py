"""A grid that is killed again and again is in the end what one is that nobody touched."""

import pytest
from faults.invariants import Evidence, check_invariants
from faults.killed_grid import Disturbance, Sweep, duration_s, unexpected_ends
from faults.plugin import FACTOR

pytest.importorskip("mlflow")
pytest.importorskip("torch")
EPOCHS = 15
KILLS = 3  # of each grid, times EXPKIT_FAULTS
N_JOBS = (1, 2) if FACTOR > 1 else (2,)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    sweep = Sweep(tmp_path_factory.mktemp("undisturbed"), epochs=EPOCHS, n_jobs=2)
    assert sweep.run().code == 0, sweep.starts[-1].text
    return sweep


@pytest.mark.faults("a grid that is killed again and again ends as one that nobody touched")
@pytest.mark.parametrize("n_jobs", N_JOBS)
def test_a_killed_grid_ends_as_one_that_nobody_touched(tmp_path, undisturbed, campaign, n_jobs):
    sweep = Sweep(tmp_path, epochs=EPOCHS, n_jobs=n_jobs)
    disturbance = Disturbance(
        sweep,
        kills=len(campaign.rounds(KILLS)),
        chance=campaign.random,
        startup_s=duration_s(undisturbed),
    )
    disturbance.run()
    print({fault.name: count for fault, count in disturbance.strikes.items()})
    campaign.tried = disturbance.strikes.total()

    evidence = Evidence(
        undisturbed=undisturbed.experiment,
        disturbed=sweep.experiment,
        epochs=EPOCHS,
        last_started_at=sweep.starts[-1].started_at,
        completed=disturbance.completed,
    )
    violations = check_invariants(evidence) | {"ends": unexpected_ends(sweep)}
    assert {what: found for what, found in violations.items() if found} == {}
