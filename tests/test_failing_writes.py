"""A disk that fails at any write: an error that says what to do, and nothing lost but what it says.

When the disk works again, the same command goes on and ends as a run that nobody touched.
"""

import errno
import json
import os
from pathlib import Path

import pytest
from faults.plugin import Campaign
from small_disk import enlarge, small_disk
from trained import checkpoint, in_mlflow, outcome

from expkit_bookkeeping import results
from expkit_mlflow import sync

KINDS = (
    {},
    {"per_batch": True, "every": 3},
    {"background": True},
    {"background": True, "per_batch": True, "rising": False},
)
DOCUMENTED = ("OSError", "FileNotFoundError", "PermissionError")
PAGE = 4096
promise = pytest.mark.faults("a run whose write fails says so or goes on, and can be resumed")


def check_nothing_is_torn(folder: Path) -> None:
    """Whatever is there can be read."""
    if (folder / "run.json").exists():
        json.loads((folder / "run.json").read_text())
    for claim in folder.glob("claims/[0-9]*.json"):
        json.loads(claim.read_text())
    for name in ("metrics.jsonl", "tracking.jsonl"):
        if (folder / name).exists():
            whole = (folder / name).read_bytes().split(b"\n")[:-1]  # the last may be half a line
            assert all(isinstance(json.loads(line), dict) for line in whole)
    for path in folder.glob("states/[!.]*.pt"):
        checkpoint(path)


def check_it_ends_as_an_untouched_run(trainer, tmp_path: Path, folder: Path, kind: dict) -> None:
    """Train on without faults, and once without any, and compare."""
    experiment = tmp_path / f"untouched_{folder.name}" / "digits"
    assert trainer(folder, kind)["code"] == 0
    assert trainer(experiment / "training" / folder.name, kind)["code"] == 0
    left, expected = (
        outcome(path, folder.name, tracked(path), rows(path))
        for path in (folder.parent.parent, experiment)
    )
    # What the disk refused to remove stays until the next attempt.
    left["left over"] = []
    left["files in states/"] = [name for name in left["files in states/"] if name[0] != "."]
    for fact, value in expected.items():
        assert left[fact] == value, fact


def tracked(experiment: Path):
    """What MLflow has; the best value once, though every attempt that ends reports it."""
    assert sync(experiment).problems == []
    return {
        name: (status, {(key, key != "best_acc" and step, value) for key, step, value in points})
        for name, (status, points) in in_mlflow(experiment).items()
    }


def rows(experiment: Path):
    found = results(experiment).set_index("run_name")
    return found.drop(columns=["attempt", "seconds", "path", "code"], errors="ignore")


def check_ending(ended: dict, folder: Path, *words: str) -> None:
    """It went on to its end, or says in one error what the system refused."""
    check_nothing_is_torn(folder)
    if ended["code"] == 0:
        assert json.loads((folder / "run.json").read_text())["state"] == "completed"
        return
    kind, message = ended["error"]
    assert kind in DOCUMENTED, ended
    assert all(word in message for word in words), message


@promise
def test_a_disk_that_is_full_at_any_page(tmp_path, trainer, campaign: Campaign):
    for number in campaign.rounds(2):
        pages = campaign.random.randrange(1, 80)
        kind = campaign.random.choice(KINDS)
        print(f"{pages} pages, {kind}")
        with small_disk(tmp_path / f"disk{number}", str(pages * PAGE)) as disk:
            folder = disk / "digits" / "training" / f"a{number}"
            ended = trainer(folder, kind)
            check_ending(ended, folder, "No space left on device", "free some space", str(disk))
            enlarge(disk, "50m")
            check_it_ends_as_an_untouched_run(trainer, tmp_path, folder, kind)


@promise
def test_a_limit_of_the_size_of_files(tmp_path, trainer, campaign: Campaign):
    for number in campaign.rounds(2):
        limit = campaign.random.randrange(0, 12_000)
        kind = campaign.random.choice(KINDS)
        print(f"{limit} bytes, {kind}")
        folder = tmp_path / f"small{number}" / "digits" / "training" / f"a{number}"
        ended = trainer(folder, kind, limit=limit)
        check_ending(ended, folder, "File too large", "ulimit -f", str(folder))
        check_it_ends_as_an_untouched_run(trainer, tmp_path, folder, kind)


@promise
@pytest.mark.parametrize("times", [1, 10**6], ids=["once", "from then on"])
def test_an_error_of_the_disk_at_any_call(tmp_path, trainer, campaign: Campaign, times):
    calls = {}
    for number in campaign.rounds(1):
        position = campaign.random.randrange(len(KINDS))
        kind = KINDS[position]
        if position not in calls:
            ended = trainer(tmp_path / "counted" / "training" / str(position), kind)
            calls[position] = ended["calls"]
        error = campaign.random.choice((errno.EIO, errno.ESTALE))
        call = campaign.random.randrange(calls[position])
        print(f"call {call} of {calls[position]}, {kind}")
        folder = tmp_path / f"ill{number}" / "digits" / "training" / f"a{number}"
        ended = trainer(folder, kind, call=call, error=error, times=times)
        check_ending(ended, folder, os.strerror(error), str(tmp_path))
        check_it_ends_as_an_untouched_run(trainer, tmp_path, folder, kind)
