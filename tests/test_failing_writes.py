"""A disk that fails at any write: an error that says what to do, and nothing lost but what it says.

When the disk works again, the same command goes on and ends as a run that nobody touched.
"""

import errno
import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest
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
PAGE = 4096
promise = pytest.mark.faults("a run whose write fails says so or goes on, and can be resumed")


class Disturbed:
    """Runs that are disturbed once and then trained on, beside untouched ones of their kinds."""

    def __init__(self, experiment: Path, trainer) -> None:
        self.training = experiment / "training"
        self.training.mkdir(parents=True)
        self.trainer = trainer
        self.kinds: dict[str, int] = {}

    def train(self, folder: Path, kind: int, *words: str, repair=lambda: None, **strike) -> None:
        """Train while something fails, then without; an error has to hold the words."""
        ended = self.trainer(folder, KINDS[kind], **strike)
        check_nothing_is_torn(folder)
        if ended["code"] == 0:
            assert json.loads((folder / "run.json").read_text())["state"] == "completed"
        else:
            assert ended["error"][0] == "OSError", ended
            assert all(word in ended["error"][1] for word in words), ended["error"][1]
        repair()
        assert self.trainer(folder, KINDS[kind])["code"] == 0
        # All into one experiment, as MLflow takes seconds to make a store.
        shutil.move(folder, self.training / folder.name)
        self.kinds[folder.name] = kind

    def compare(self) -> None:
        """Check that each is in the end as one of its kind that nobody touched."""
        experiment = self.training.parent
        for kind in set(self.kinds.values()):
            assert self.trainer(self.training / f"untouched_{kind}", KINDS[kind])["code"] == 0
        assert sync(experiment).problems == []
        tracked = {name: latest_best(*run) for name, run in in_mlflow(experiment).items()}
        rows = results(experiment).set_index("run_name")
        rows = rows.drop(columns=["attempt", "seconds", "path", "code"], errors="ignore")
        for name, kind in self.kinds.items():
            left = outcome(experiment, name, tracked, rows)
            expected = outcome(experiment, f"untouched_{kind}", tracked, rows)
            # What the disk refused to remove stays until the next attempt.
            left["left over"] = []
            left["files in states/"] = [file for file in left["files in states/"] if file[0] != "."]
            for fact, value in expected.items():
                assert left[fact] == value, f"{fact} of {name}, {KINDS[kind]}"


@pytest.fixture
def disturbed(tmp_path, trainer) -> Disturbed:
    return Disturbed(tmp_path / "digits", trainer)


def latest_best(status, points):
    """All points, but the best value once, as every attempt that ends reports it."""
    return status, {(key, key != "best_acc" and step, value) for key, step, value in points}


def check_nothing_is_torn(folder: Path) -> None:
    """Whatever is there can be read."""
    for path in (*folder.glob("run.json"), *folder.glob("claims/[0-9]*.json")):
        json.loads(path.read_text())
    for path in folder.glob("*.jsonl"):
        whole = path.read_bytes().split(b"\n")[:-1]  # the last one may be half a line
        assert all(isinstance(json.loads(line), dict) for line in whole)
    for path in folder.glob("states/[!.]*.pt"):
        checkpoint(path)


def any_kind(campaign) -> int:
    return campaign.random.randrange(len(KINDS))


@promise
def test_a_disk_that_is_full_at_any_page(tmp_path, disturbed, campaign):
    for number in campaign.rounds(2):
        pages, kind = campaign.random.randrange(1, 80), any_kind(campaign)
        print(f"{pages} pages, {KINDS[kind]}")
        with small_disk(tmp_path / f"disk{number}", str(pages * PAGE)) as disk:
            folder = disk / "digits" / "training" / f"a{number}"
            words = ("No space left on device", "free some space", str(disk))
            repair = partial(enlarge, disk, "50m")
            disturbed.train(folder, kind, *words, repair=repair)
    disturbed.compare()


@promise
def test_a_limit_of_the_size_of_files(tmp_path, disturbed, campaign):
    for number in campaign.rounds(1):
        limit, kind = campaign.random.randrange(12_000), any_kind(campaign)
        print(f"{limit} bytes, {KINDS[kind]}")
        folder = tmp_path / "small" / "training" / f"a{number}"
        disturbed.train(folder, kind, "File too large", str(folder), limit=limit)
    disturbed.compare()


@promise
@pytest.mark.parametrize("times", [1, 10**6], ids=["once", "from then on"])
def test_an_error_of_the_disk_at_any_call(tmp_path, trainer, disturbed, campaign, times):
    calls = {}
    for number in campaign.rounds(1):
        kind = any_kind(campaign)
        if kind not in calls:
            counted = trainer(tmp_path / "counted" / "training" / str(kind), KINDS[kind])
            calls[kind] = counted["calls"]
        call = campaign.random.randrange(calls[kind])
        error = campaign.random.choice((errno.EIO, errno.ESTALE))
        print(f"{os.strerror(error)} at call {call} of {calls[kind]}, {KINDS[kind]}")
        folder = tmp_path / "ill" / "training" / f"a{number}"
        words = (os.strerror(error), str(tmp_path))
        disturbed.train(folder, kind, *words, call=call, error=error, times=times)
    disturbed.compare()
