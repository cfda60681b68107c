"""A pickle is code: nobody but its owner may have written the one that is loaded."""

import os
import pickle
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from expkit_hydra import Grid
from expkit_slurm import SlurmError
from expkit_slurm._submissions.payload import (
    PickledTask,
    pickled_task,
    read_pickle,
    write_pickle,
)

GROUP, OTHER_USER = 54_320, 54_321  # numbers that no user or group of this machine has


GRID = Grid(Path("grids/none"), "none", runs=(), pending=())


def function(cfg):
    return "mine"


def read_function(submission):
    return PickledTask(submission).load(GRID)[0]


class Evil:
    """Leaves a file when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.fixture
def proof(tmp_path):
    """Exists if code of another user has run."""
    return tmp_path / "proof"


@pytest.fixture
def submission():
    """A submission's folder in a tree that a whole group may write, as umask 002 leaves it."""
    # Not pytest's folder, which others may not enter.
    tree = Path(tempfile.mkdtemp(prefix="expkit-group-"))
    if os.geteuid() == 0:
        os.chown(tree, -1, GROUP)
    tree.chmod(0o2775)
    before = os.umask(0o002)
    folder = tree / "results" / "first" / "slurm" / "20261130T000000-abcdef"
    folder.mkdir(parents=True)
    yield folder
    os.umask(before)
    shutil.rmtree(tree)


@pytest.fixture
def member(submission):
    """Run a shell script as another user of the group, in the submission's folder."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")

    def run(script: str, *arguments: object, data: bytes = b"") -> None:
        subprocess.run(
            ["sh", "-ec", f"umask 002\n{script}", "sh", *map(str, arguments)],
            cwd=submission,
            input=data,
            check=True,
            user=OTHER_USER,
            group=GROUP,
            extra_groups=[GROUP],
        )

    return run


def test_the_pickle_is_its_owners_alone_in_a_folder_that_a_group_may_write(submission):
    write_pickle(submission, pickled_task(function, GRID))

    assert stat.S_IMODE((submission / "private").stat().st_mode) & 0o777 == 0o700
    assert stat.S_IMODE((submission / "private/task.pkl").stat().st_mode) == 0o600
    assert read_function(submission)(None) == "mine"


@pytest.mark.parametrize(
    "attack",
    [
        "mv private aside; mkdir private; cat > private/task.pkl",
        "mv private aside; mkdir -m 700 private; umask 077; cat > private/task.pkl",
        "mv private aside; mkdir aside2; cat > aside2/task.pkl; ln -s aside2 private",
        "mv private aside; cat > private",
        "mv private aside; cat > task.pkl",  # where version 0.1.0 had it
        "mv private aside; umask 077; cat > task.pkl",
        "cd ..; n=$(echo *); mv $n aside; mkdir -p $n/private; cat > $n/private/task.pkl",
    ],
)
def test_nothing_runs_of_what_another_member_of_the_group_puts_there(
    submission, member, proof, attack
):
    write_pickle(submission, pickled_task(function, GRID))
    member(attack, data=pickle.dumps(Evil(proof)))

    with pytest.raises(SlurmError) as refusal:
        read_function(submission)

    said = str(refusal.value)
    assert not proof.exists()
    assert str(submission) in said
    if attack.endswith("cat > private"):
        assert "Not a directory" in said
    else:
        assert "not to you" in said or "is a link" in said
        assert "Submit the runs again with the sweep's command" in said


def test_another_member_cannot_write_into_the_private_folder(submission, member):
    write_pickle(submission, pickled_task(function, GRID))

    for attack in ("rm -f private/task.pkl", "cat > private/task.pkl", "cat private/task.pkl"):
        with pytest.raises(subprocess.CalledProcessError):
            member(attack)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "readable", "gone"])
def test_what_is_no_private_file_is_refused_in_a_sentence(submission, kind, proof):
    write_pickle(submission, pickle.dumps(Evil(proof)))
    path = submission / "private/task.pkl"
    if kind == "readable":
        path.chmod(0o640)
    else:
        path.rename(submission / "aside")
    if kind == "link":
        path.symlink_to(submission / "aside")
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir(0o700)

    said = {
        "link": "is a link",
        "pipe": "is no file",
        "folder": "is no file",
        "readable": "is open to others (mode 0640)",
        "gone": "is gone, with the function that the tasks run",
    }[kind]
    with pytest.raises(SlurmError) as refusal:
        read_function(submission)
    assert f"{path} {said}" in str(refusal.value)
    assert not proof.exists()


def test_a_private_folder_that_others_may_enter_is_refused(submission, proof):
    write_pickle(submission, pickle.dumps(Evil(proof)))
    (submission / "private").chmod(0o750)

    with pytest.raises(SlurmError, match=r"private is open to others \(mode 0?2?750\)"):
        read_function(submission)
    assert not proof.exists()


def test_a_submission_is_refused_where_the_file_system_has_no_private_files(
    submission, monkeypatch
):
    real = os.mkdir
    # As on FAT or CIFS, which show the same mode for everything.
    monkeypatch.setattr(os, "mkdir", lambda path, mode=0o777, **more: real(path, 0o755, **more))

    with pytest.raises(SlurmError, match=r"\(mode 2?755\)|\(mode 0755\)") as refusal:
        write_pickle(submission, b"")
    said = str(refusal.value)
    assert "Nothing has been submitted" in said
    assert "at the top level of a script or module" in said


def test_a_pickle_of_version_0_1_0_is_read_if_it_is_ones_own(submission, member, proof):
    path = submission / "task.pkl"
    parts = pickle.loads(pickled_task(function, GRID))
    common = {"task_function": function, "resolvers": {}}
    path.write_bytes(pickle.dumps({**parts, "common": pickle.dumps(common)}))
    path.chmod(0o600)

    assert read_function(submission)(None) == "mine"

    member("rm -f task.pkl; cat > task.pkl; chmod 600 task.pkl", data=pickle.dumps(Evil(proof)))
    with pytest.raises(SlurmError, match="not to you"):
        read_pickle(submission)
    path.unlink()
    path.write_bytes(pickle.dumps(Evil(proof)))
    path.chmod(0o660)
    with pytest.raises(SlurmError, match=r"open to others \(mode 0660\)"):
        read_function(submission)
    assert not proof.exists()


def test_no_pickle_is_written_where_the_function_can_be_imported(tmp_path):
    """The other tests of this package look at whole submissions; here the way of n_jobs."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").write_text(
        "defaults: [expkit, _self_]\nexperiment_id: first\nexpkit: {after: []}\n"
        "x: 1\nhydra: {sweeper: {params: {x: [0, 1, 2]}}}\n"
    )
    (tmp_path / "train.py").write_text(
        'import hydra\n\n\n@hydra.main(version_base="1.3", config_path="conf", '
        'config_name="config")\ndef main(cfg):\n    return {"x": cfg.x}\n\n\n'
        'if __name__ == "__main__":\n    main()\n'
    )
    command = [sys.executable, "train.py", "-m", "hydra.launcher.n_jobs=2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert len([path for path in files if path.name == "run.json"]) == 3
    assert [path for path in files if path.read_bytes()[:1] == b"\x80"] == []
    assert [path for path in files if path.suffix in (".pkl", ".pickle")] == []
