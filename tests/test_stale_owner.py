"""An owner that was taken for gone and wakes up changes nothing in what is another's by now."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STALE_OWNER = Path(__file__).with_name("stale_owner.py")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="stops forks of a process")


@pytest.mark.faults("an owner that was taken for gone changes nothing when it wakes up")
@pytest.mark.parametrize("scenario", ["bookkeeping", "mlflow", "grid"])
def test_an_owner_that_is_stopped_before_any_of_its_writes_leaves_the_next_ones_folder_alone(
    tmp_path, scenario, campaign
):
    rounds = len(campaign.rounds(8))
    env = {key: value for key, value in os.environ.items() if not key.startswith("EXPKIT_GRID")}
    command = [sys.executable, STALE_OWNER, scenario, tmp_path, str(rounds), str(campaign.seed)]

    done = subprocess.run(command, capture_output=True, text=True, env=env)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["calls"] > 40  # it was stopped, and not only at its start
    assert report["changed"] == {}
