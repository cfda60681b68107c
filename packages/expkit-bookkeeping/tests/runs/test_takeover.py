"""Taking a run over: what its former owner does from then on changes nothing in the folder."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from expkit_bookkeeping import Bookkeeping, ClaimLost
from expkit_bookkeeping.launching import claim_run, open_append_file

TAKE_OVER = """
import sys
from expkit_bookkeeping.launching import claim_run
names = sys.argv[2:]
claim_run(sys.argv[1], append_files=names, is_alive=lambda record: False).finish("completed")
"""


class Encoder:
    def to_dict(self) -> dict[str, object]:
        return {}

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> "Encoder":
        return cls()


class Timer:
    def save(self, path: Path) -> None:
        path.write_text("epoch: {}\n")


class Model:
    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: object) -> None:
        pass


WRITES = {
    "log": lambda run: run.log("still here"),
    "log_to_file": lambda run: run.log_to_file("still here"),
    "create_folder": lambda run: run.create_folder("plots/new"),
    "save_timer": lambda run: run.save_timer(Timer()),
    "log_artifact": lambda run: run.log_artifact("run.json"),
    "save_checkpoint": lambda run: run.save_checkpoint(1),
    "save_checkpoint in the background": lambda run: run.save_checkpoint(1, background=True),
    "wait_for_checkpoint": lambda run: run.wait_for_checkpoint(),
    "resume": lambda run: run.resume(),
    "save_model": lambda run: run.save_model(Model()),
    "save_optimizer": lambda run: run.save_optimizer(Model()),
    "save_scheduler": lambda run: run.save_scheduler(Model()),
    "save_encoder": lambda run: run.save_encoder(Encoder()),
    "save_model_summary": lambda run: run.save_model_summary(Model()),
    "save_results": lambda run: run.save_results({"x": 1}, "fold1/final"),
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "digits" / "training" / "a"


def take_over(folder: Path, *append_files: str) -> None:
    """Claim the run as another process, and complete it."""
    subprocess.run([sys.executable, "-c", TAKE_OVER, folder, *append_files], check=True)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


def steps(folder: Path) -> list[int]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def opened(folder: Path) -> Bookkeeping:
    return Bookkeeping(folder, console=False, clock=lambda: 0.0).open()


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_every_writer_says_at_once_that_the_run_is_anothers_and_leaves_it_alone(folder, write):
    run = opened(folder)
    run.log_metrics({"loss": 1.0}, step=0)
    take_over(folder)
    before = contents(folder)

    with pytest.raises(ClaimLost, match="now belongs to process"):
        write(run)
    with pytest.raises(ClaimLost):
        run.close()

    assert contents(folder) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_no_writer_makes_a_run_folder_anew_that_was_moved_away(folder, write):
    run = opened(folder)
    shutil.move(folder, folder.parent / "moved")

    with pytest.raises(ClaimLost, match="moved to the trash or renamed"):
        write(run)
    with pytest.raises(ClaimLost):
        run.close()

    assert not folder.exists()


def test_metrics_that_are_logged_after_the_run_was_lost_are_nobodys(folder):
    pytest.importorskip("torch")
    run = opened(folder)
    run.log_metrics({"loss": 1.0}, step=0)
    run.save_checkpoint(0)
    take_over(folder)
    for step in range(1, 20_000):  # more than are kept in memory
        try:
            run.log_metrics({"loss": 0.0}, step=step)
        except ClaimLost:
            break
    with pytest.raises(ClaimLost):
        run.close()

    assert steps(folder) == [0]


def test_a_former_owners_handle_writes_where_nobody_reads(folder):
    claim = claim_run(folder)
    names = ["metrics.jsonl", "tracking.jsonl", "training.log", "console.log", "train.log"]
    handles = [open_append_file(folder / name, claim.check) for name in names]
    for handle in handles:
        os.write(handle, b"before\n")
    (folder / "train.log").chmod(0o640)

    take_over(folder, "train.log")
    for handle in handles:
        os.write(handle, b"after\n")
        os.ftruncate(handle, 0)
        os.close(handle)

    assert [(folder / name).read_bytes() for name in names] == [b"before\n"] * 5
    assert (folder / "train.log").stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_opened_after_the_run_was_lost_is_not_written(folder):
    claim = claim_run(folder)
    (folder / "console.log").write_text("before\n")
    take_over(folder)

    for name in ("console.log", "training.log"):
        with pytest.raises(ClaimLost):
            open_append_file(folder / name, claim.check)

    assert (folder / "console.log").read_text() == "before\n"
    assert not (folder / "training.log").exists()


def test_files_that_the_next_owner_has_open_already_stay_the_same_files(folder):
    take_over(folder)
    logger = open_append_file(folder / "tracking.jsonl")  # as an MLFlowLogger that is opened first
    os.write(logger, b"{}\n")

    claim_run(folder)
    os.write(logger, b"{}\n")
    os.close(logger)

    assert (folder / "tracking.jsonl").read_bytes() == b"{}\n{}\n"


def test_only_files_of_ours_are_cleared_away_and_none_behind_a_link_or_of_a_run_inside(folder):
    take_over(folder)
    outside = folder.parents[2] / "outside"
    inner = folder / "notes" / "training" / "b"
    for made in (outside, inner / "claims", folder / "states" / "fold1"):
        made.mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    ours = ".model.pt.0123456789ab.tmp"
    stays = [
        *(parent / ours for parent in (outside, inner)),
        folder / ".mine.tmp",
        folder / "model.pt.0123456789ab.tmp",
    ]
    goes = [folder / ours, folder / "states" / "fold1" / ours, folder / "claims" / ours]
    for path in (*stays, *goes):
        path.touch()
    (folder / "states" / ".fold2.0123456789ab.tmp").mkdir()

    claim_run(folder)

    assert [path for path in stays if not path.exists()] == []
    assert [path for path in goes if path.exists()] == []
    assert [path.name for path in (folder / "states").iterdir()] == ["fold1"]


def test_an_attempt_that_could_not_take_over_for_a_full_disk_does_so_when_it_tries_again(
    folder, monkeypatch
):
    claim = claim_run(folder)
    handle = open_append_file(folder / "training.log", claim.check)
    os.write(handle, b"before\n")
    claim.release()
    record = (folder / "run.json").read_text()
    (folder / "run.json").write_text(record.replace(f'"pid": {os.getpid()}', '"pid": 1'))
    os.close(handle)
    before = (folder / "training.log").stat().st_ino

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(shutil, "copy2", full)
        with pytest.raises(OSError, match="No space left"):
            claim_run(folder, is_alive=lambda record: False)
    assert (folder / "training.log").read_bytes() == b"before\n"
    claim_run(folder, is_alive=lambda record: False)

    assert (folder / "training.log").stat().st_ino != before
    assert (folder / "training.log").read_bytes() == b"before\n"


def test_a_metrics_file_that_somebody_replaced_by_hand_gets_the_next_lines(folder):
    pytest.importorskip("torch")
    run = opened(folder)
    run.log_metrics({"loss": 1.0}, step=0)
    run.save_checkpoint(0)
    (folder / "metrics.jsonl").unlink()
    run.log_metrics({"loss": 2.0}, step=1)
    run.close("completed")

    assert steps(folder) == [1]


def test_a_process_that_lost_a_run_it_still_works_on_does_not_start_it_again(folder):
    claim = claim_run(folder)  # as a launcher has it while the script runs
    take_over(folder)

    with pytest.raises(ClaimLost):
        opened(folder)

    del claim
    run = opened(folder)  # but whoever starts anew may
    run.log_metrics({"loss": 1.0}, step=0)
    run.close()
    assert sorted(path.name for path in (folder / "claims").iterdir()) == [
        "0001.json",
        "0002.json",
        "0003.json",
    ]


def test_checkpoints_of_the_next_owner_get_their_names_back(folder):
    """The former owner is stopped after it has asked, and before it removes or renames."""
    pytest.importorskip("torch")
    run = opened(folder)
    for epoch in range(3):
        run.save_checkpoint(epoch)
    run.wait_for_checkpoint()
    for thread in threading.enumerate():
        if thread.name == "expkit-bookkeeping" and thread is not threading.current_thread():
            thread.join(timeout=0.01)
    from expkit_bookkeeping._checkpoints.writing import remove, set_aside

    take_over(folder)
    before = contents(folder)

    def check() -> None:
        raise ClaimLost("the next owner has it")

    newest = folder / "states" / "epoch_0002.pt"
    remove([newest], print, check)
    with pytest.raises(ClaimLost):
        set_aside(newest, "replaced", check)

    assert contents(folder) == before
    with pytest.raises(ClaimLost):
        run.close()
