"""Two users of one group under several umasks: who may read, resume and clean what."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

GROUP = 54_321  # of both users; numbers need no account
ADA, BEN = 54_322, 54_323
promise = pytest.mark.faults("colleagues may what the umask says, and are told what they may not")
TRAIN = """
import sys
from expkit_bookkeeping import Bookkeeping
with Bookkeeping(sys.argv[1], console=False) as run:
    run.log_metrics({"loss": 1.0}, step=0)
    run.save_results({"accuracy": 1}, "fold1/test")
    run.save_checkpoint(0)
    if sys.argv[2:] == ["fail"]:
        raise SystemExit(3)
"""


@dataclass
class Shared:
    """A folder that a group shares, as on a cluster: 2775."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "digits" / "training" / "a"

    def as_user(self, user: int, umask: int, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a user of the group, who owns nothing else."""
        prefix = ["setpriv", f"--reuid={user}", f"--regid={GROUP}", "--clear-groups"]
        prefix += ["--bounding-set=-all", "--inh-caps=-all"]
        return subprocess.run(
            [*prefix, sys.executable, *command],
            cwd="/",
            env={**os.environ, "HOME": str(self.folder)},
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )

    def train(self, user: int, umask: int, *words: str) -> subprocess.CompletedProcess[str]:
        return self.as_user(user, umask, "-c", TRAIN, str(self.run), *words)

    def verb(self, user: int, package: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.as_user(user, 0o022, "-m", package, *words)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can act as other users")
    folder = Path(tempfile.mkdtemp(prefix="colleagues-"))  # pytest's folders are private
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2775)
    shared = Shared(folder)
    if shared.as_user(ADA, 0o022, "-c", "import expkit_bookkeeping").returncode != 0:
        shutil.rmtree(folder)
        pytest.skip("other users cannot use this Python")
    yield shared
    shutil.rmtree(folder)


@promise
@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077], ids=oct)
def test_modes_are_those_of_the_umask(shared, umask):
    done = shared.train(ADA, umask)
    assert done.returncode == 0, done.stderr
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in shared.folder.rglob("*")}
    for path, mode in modes.items():
        allowed = (0o777 if path.is_dir() else 0o666) & ~umask
        assert mode & 0o777 == allowed, f"{path}: {mode:o}"


@promise
def test_a_colleague_who_may_only_read_sees_all_and_is_told_why_no_more(shared):
    shared.train(ADA, 0o022, "fail")
    shown = shared.verb(BEN, "expkit_hydra", "status", str(shared.folder / "digits"))
    assert shown.returncode == 1, shown.stderr  # the run needs attention
    assert "failed" in shown.stdout or "interrupted" in shown.stdout
    refused = shared.train(BEN, 0o022)
    assert refused.returncode == 1
    last = refused.stderr.strip().splitlines()[-1]
    assert "PermissionError" in last
    assert "you may not write there: ask its owner, or choose another folder" in last
    assert str(shared.run) in last
    cleaned = shared.verb(BEN, "expkit_hydra", "cleanup", str(shared.folder / "digits"), "--yes")
    assert "Traceback" not in cleaned.stdout + cleaned.stderr
    assert "Permission denied" in cleaned.stdout + cleaned.stderr
    assert (shared.run / "run.json").exists()


@promise
def test_a_colleague_of_a_group_that_shares_may_resume_and_clean(shared):
    shared.train(ADA, 0o002, "fail")
    resumed = shared.train(BEN, 0o002, "fail")
    assert resumed.returncode == 3, resumed.stderr
    cleaned = shared.verb(ADA, "expkit_hydra", "cleanup", str(shared.folder / "digits"), "--yes")
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert not shared.run.exists()
    (kept,) = shared.folder.glob("digits/.trash/a.*")
    assert (kept / "run.json").exists()


@promise
def test_what_a_private_umask_hides_is_said_in_a_sentence(shared):
    assert shared.train(ADA, 0o077).returncode == 0
    shown = shared.verb(BEN, "expkit_hydra", "status", str(shared.folder / "digits"))
    assert "Traceback" not in shown.stderr
    assert "Permission denied" in shown.stdout + shown.stderr
    refused = shared.train(BEN, 0o022)
    assert "PermissionError" in refused.stderr.strip().splitlines()[-1]
