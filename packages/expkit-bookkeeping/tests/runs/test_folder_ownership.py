"""Whose a folder is: what expkit claims, moves and shares, and what it leaves as it is."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from expkit_bookkeeping import Bookkeeping, RunClaimed, find_runs, read_run
from expkit_bookkeeping._runs import folder_ownership
from expkit_bookkeeping.launching import (
    claim_run,
    foreign_reason,
    move_to_trash,
    reason_to_stay,
    script_files,
)
from expkit_bookkeeping.reading import find_run

KILLED_BEFORE_RUN_JSON = """
import os
import signal
import sys
from pathlib import Path
from expkit_bookkeeping._runs.claiming import claim_run
from expkit_bookkeeping._runs.claims import Claim
Claim.start = lambda *facts, **more: os.kill(os.getpid(), signal.SIGKILL)
claim_run(Path(sys.argv[1]))
"""
JOURNAL = '{"kind": "run", "schema": 1, "id": "5f0c"}\n'
HYDRA = """hydra:
  job: {name: other}
  job_logging:
    handlers:
      file: {filename: "${hydra.runtime.output_dir}/${hydra.job.name}.log"}
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "digits" / "training" / "a"


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def script(tmp_path, monkeypatch):
    path = tmp_path / "scripts" / "train.py"
    path.parent.mkdir()
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(path), raising=False)
    return path


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text(text)


def snapshot(folder: Path) -> dict[str, object]:
    """All that is below a folder, links as links."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


FREE = {
    "new": None,
    "empty": {},
    "a plain app's": {".hydra/config.yaml": "", ".hydra/hydra.yaml": HYDRA, "other.log": ""},
    "nothing but Hydra's folder": {".hydra/config.yaml": ""},
    "the script's log": {".hydra/config.yaml": "", "train.log": ""},
    "a launcher's log": {"console.log": ""},
    "expkit's log": {".hydra/config.yaml": "", "training.log": ""},
    "file systems'": {".gitkeep": "", ".nfs0000000000a1": ""},
    "leftovers": {".run.json.0123456789ab.tmp": "", ".clock.k2_x7abc.tmp": "", "claims/": ""},
    "a killed first claim": {"claims/.0001.json.0123456789ab.tmp": "{"},
    "a lone logger's": {"tracking.jsonl": JOURNAL, "config.yaml": "lr: 1", "logged/a.png": ""},
    "a logger's killed at once": {"tracking.jsonl": ""},
}
FOREIGN = {
    "a source file": {"train.py": ""},
    "a configuration": {"config.yaml": "mine: true"},
    "a file written before": {"mine.yaml": ""},
    "a log": {"server.log": ""},
    "a log that the shell wrote": {"train.log": ""},
    "a log of our name": {"training.log": ""},
    "a log beside Hydra's": {".hydra/hydra.yaml": HYDRA, "other.log": "", "server.log": ""},
    "a log beside what is not Hydra's": {".hydra/hydra.yaml": "[1", "other.log": ""},
    "a temporary file": {"download.tmp": ""},
    "a repository": {".git/HEAD": ""},
    "another tool's run.json": {"run.json": '{"state": "completed"}'},
    "one with text for a schema": {"run.json": '{"schema": "a", "id": "b", "state": "failed"}'},
    "one with numbers": {"run.json": '{"schema": 1, "id": 7, "state": "failed"}'},
    "a damaged run.json": {"run.json": '{"schema": 1, "id": '},
    "claims of an insurance": {"claims/2024.json": '{"sum": 7}', "claims/0001.json": "[1]"},
    "claims by another name": {"claims/1.json": '{"attempt": 1}'},
    "an eye tracker's": {"tracking.jsonl": '{"gaze": [0.5, 0.25]}\n'},
    "a checkpoint": {"states/last.pt": ""},
    "an experiment": {"training/a/run.json": '{"schema": 1, "id": "b", "state": "failed"}'},
}


@pytest.mark.parametrize("files", FREE.values(), ids=FREE)
def test_a_free_folder_is_claimed_and_moved_as_a_run(folder, script, files):
    if files is not None:
        write(folder, files)

    claim_run(folder).finish("failed")

    assert read_run(folder).attempt == 1
    assert json.loads((folder / "claims/0001.json").read_text())["shared"] is False
    assert claim_run(folder).attempt == 1  # by the same process
    claim_run(folder).finish("failed")
    target = move_to_trash(folder, reason="rerun")
    kept = [name for name in files or () if not name.endswith(".tmp")]  # leftovers go
    assert all((target / name).exists() for name in kept)


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_folder_is_neither_claimed_nor_moved(folder, tmp_path, files):
    write(folder, files)
    before = snapshot(tmp_path)

    with pytest.raises(PermissionError, match="If a line of yours writes them"):
        claim_run(folder)
    with pytest.raises(PermissionError):
        Bookkeeping.from_config(
            {"results_dir": str(tmp_path), "experiment_id": "digits", "run_name": "a"}
        ).open()
    with pytest.raises(PermissionError, match="never moved to the trash"):
        move_to_trash(folder, reason="rerun")

    assert foreign_reason(folder) is not None
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_a_folder_named_by_hand_is_shared_unless_a_name_is_taken(folder, tmp_path, files):
    write(folder, files)
    before = snapshot(tmp_path)
    names = {name.partition("/")[0] for name in files}
    if names & (folder_ownership.OUR_NAMES | {".git", "training"}):
        with pytest.raises(PermissionError):
            Bookkeeping(folder).open()
        assert snapshot(tmp_path) == before
        return

    with contextlib.suppress(ValueError), Bookkeeping(folder, config={"lr": 1}, console=False):
        raise ValueError
    Bookkeeping(folder, console=False).open().close("failed")

    assert {name: text for name, text in snapshot(tmp_path).items() if name in before} == before
    claim = json.loads((folder / "claims" / "0001.json").read_text())
    assert claim["shared"] is True
    assert [record.state for record in find_runs(tmp_path / "digits")] == ["failed"]
    with pytest.raises(PermissionError, match="held other files when it was first claimed"):
        move_to_trash(folder, reason="fresh")
    assert folder.is_dir()


def test_only_temporary_files_of_ours_are_leftovers(folder):
    write(folder, {"notes.txt": "", ".cache.tmp": "", ".run.json.0123456789ab.tmp": ""})

    Bookkeeping(folder, console=False).open().close("failed")

    names = {path.name for path in folder.iterdir()}
    assert {"notes.txt", ".cache.tmp"} < names
    assert ".run.json.0123456789ab.tmp" not in names


def test_a_shared_run_stays_shared_in_the_next_process(folder):
    write(folder, {"notes.txt": "mine"})
    code = "import sys; from expkit_bookkeeping import Bookkeeping; Bookkeeping(sys.argv[1]).open()"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True)
    (folder / "notes.txt").unlink()

    claims = [json.loads(path.read_text()) for path in sorted((folder / "claims").iterdir())]
    assert [claim["shared"] for claim in claims] == [True] * len(claims)
    assert "held other files" in reason_to_stay(folder)


def test_a_kill_between_claim_and_run_json_leaves_a_run_that_starts_again(folder):
    command = [sys.executable, "-c", KILLED_BEFORE_RUN_JSON, str(folder)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert sorted(path.name for path in folder.iterdir()) == ["claims"]
    assert find_run(folder).state == "lost"

    with Bookkeeping(folder, console=False):
        pass

    assert read_run(folder).state == "completed"


def test_a_folder_that_another_process_claims_meanwhile_is_its_run_and_not_foreign(
    folder, monkeypatch
):
    command = [sys.executable, "-c", "import sys; from expkit_bookkeeping import Bookkeeping; "]
    command[-1] += "Bookkeeping(sys.argv[1]).open(); sys.stdin.read()"
    looks = folder_ownership._content_reason
    started = []

    def claimed_in_between(path):
        process = subprocess.Popen([*command, str(path)], stdin=subprocess.PIPE)
        started.append(process)
        while not (path / "training.log").exists():
            assert process.poll() is None
        return looks(path)

    monkeypatch.setattr(folder_ownership, "_content_reason", claimed_in_between)
    folder.mkdir(parents=True)
    try:
        with pytest.raises(RunClaimed):
            claim_run(folder)
    finally:
        for process in started:
            process.kill()
            process.communicate()


# Places


def test_home_and_the_folders_above_it_are_never_a_runs(home, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(home)
    before = snapshot(tmp_path)

    for folder in (home, tmp_path, link, home / ".." / "home"):
        with pytest.raises(PermissionError, match="your home directory"):
            claim_run(folder)
        with pytest.raises(PermissionError, match="your home directory"):
            Bookkeeping(folder).open()

    assert snapshot(tmp_path) == before
    claim_run(home / "run").finish("failed")


def test_a_home_that_is_a_link_is_protected_with_both_of_its_parents(tmp_path, monkeypatch):
    (tmp_path / "disk" / "ada").mkdir(parents=True)
    (tmp_path / "homes").mkdir()
    (tmp_path / "homes" / "ada").symlink_to(tmp_path / "disk" / "ada")
    monkeypatch.setenv("HOME", str(tmp_path / "homes" / "ada"))

    for folder in ("homes", "homes/ada", "disk", "disk/ada"):
        assert "your home directory" in foreign_reason(tmp_path / folder)


def test_the_scripts_folder_is_never_a_runs(script, tmp_path):
    (script.parent.parent / "link").symlink_to(script.parent)

    for folder in (script.parent, tmp_path, tmp_path / "link"):
        with pytest.raises(PermissionError, match="where its script lies"):
            Bookkeeping(folder).open()


def test_a_git_root_is_never_a_runs(tmp_path):
    write(tmp_path / "project", {".git/HEAD": "", "notes.txt": ""})

    with pytest.raises(PermissionError, match="root of a git repository"):
        Bookkeeping(tmp_path / "project").open()


def test_an_experiment_and_a_results_folder_are_never_a_runs(tmp_path):
    claim_run(tmp_path / "results" / "digits" / "training" / "a").finish("failed")
    before = snapshot(tmp_path)

    for folder in ("results", "results/digits"):
        with pytest.raises(PermissionError, match="holds the runs of"):
            Bookkeeping(tmp_path / folder).open()

    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("inner", [".git", "training/a", "digits/training/a"])
def test_what_an_older_version_claimed_and_should_not_have_is_never_moved(tmp_path, inner):
    project = tmp_path / "project"
    claim_run(project).finish("completed")
    write(project, {"notes.txt": "mine"})
    if inner == ".git":
        (project / inner).mkdir()
    else:
        claim_run(project / inner).finish("completed")

    with pytest.raises(PermissionError, match=r"root of a git repository|holds the runs of"):
        move_to_trash(project, reason="rerun")

    assert (project / "notes.txt").exists()


def test_a_notebook_may_work_in_the_folder_of_its_run(folder, monkeypatch):
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)

    with Bookkeeping(".", console=False) as bookkeeping:  # new, and then its own
        bookkeeping.log_metrics({"loss": 1.0}, 0)
    with Bookkeeping(Path.cwd(), console=False) as bookkeeping:
        bookkeeping.log("again")

    assert find_run(folder).state == "completed"
    with pytest.raises(PermissionError, match="where this program was started"):
        move_to_trash(folder, reason="fresh")


def test_a_removed_working_directory_and_an_unknown_home_decide_nothing(
    folder, tmp_path, monkeypatch
):
    folder.mkdir(parents=True)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setenv("HOME", "")

    assert foreign_reason(folder) is None
    assert reason_to_stay(folder) is None


def test_a_notebook_may_lie_in_the_folder_of_its_run(folder, monkeypatch):
    write(folder, {"analysis.ipynb": "{}"})
    monkeypatch.chdir(folder)

    with Bookkeeping(".", console=False) as bookkeeping:
        bookkeeping.log_metrics({"loss": 1.0}, 0)

    assert (folder / "analysis.ipynb").read_text() == "{}"
    with pytest.raises(PermissionError, match="where this program was started"):
        Bookkeeping("..").open()


# Links


def test_a_run_that_is_a_link_is_read_resumed_and_moved_as_a_link(folder, tmp_path):
    (tmp_path / "scratch" / "a").mkdir(parents=True)
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tmp_path / "scratch" / "a")

    with Bookkeeping(folder, console=False) as bookkeeping:
        bookkeeping.log_metrics({"loss": 1.0}, 0)
    assert [record.run_name for record in find_runs(tmp_path / "digits")] == ["a"]
    before = snapshot(tmp_path / "scratch")
    target = move_to_trash(folder, reason="cleanup")

    assert target.is_symlink()
    assert not os.path.lexists(folder)
    after = snapshot(tmp_path / "scratch")
    assert after.keys() - before.keys() == {"a/claims/0002.json"}  # the claim to remove it
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize("to", ["home", "project", "nowhere"])
def test_a_link_to_somebody_elses_folder_is_no_run(folder, home, tmp_path, to):
    write(tmp_path / "project", {"train.py": ""})
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tmp_path / to)
    before = snapshot(tmp_path)

    with pytest.raises(OSError, match=r"somebody|home directory|did not write|File exists"):
        claim_run(folder)

    assert snapshot(tmp_path) == before


def test_links_above_a_run_are_ordinary(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "scratch")
    folder = tmp_path / "results" / "digits" / "training" / "a"

    claim_run(folder).finish("failed")
    target = move_to_trash(folder, reason="cleanup")

    assert target.parent == (tmp_path / "scratch" / "digits" / ".trash")


def test_a_dangling_link_in_the_trash_is_not_written_over(folder, tmp_path):
    trash = tmp_path / "digits" / ".trash"
    trash.mkdir(parents=True)
    (trash / "a.19700101T000000").symlink_to(tmp_path / "nowhere")
    claim_run(folder).finish("failed")

    target = move_to_trash(folder, reason="fresh", clock=lambda: 0.0)

    assert target.name == "a.19700101T000000.2"
    assert (trash / "a.19700101T000000").is_symlink()


def test_what_a_script_wrote_is_told_from_what_expkit_writes(folder, script):
    with Bookkeeping(folder, config={"lr": 1}, console=False) as bookkeeping:
        bookkeeping.log_metrics({"loss": 1.0}, 0)
    write(folder, {"last.ckpt": "", "csv/version_0/metrics.csv": "", ".hydra/config.yaml": ""})

    assert script_files(folder) == ["csv", "last.ckpt"]
