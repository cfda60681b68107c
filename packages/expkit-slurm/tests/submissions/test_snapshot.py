"""The project's sources as they were at submission: what is copied, and what runs from the copy."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from expkit_slurm import SlurmError
from expkit_slurm._submissions import snapshot as snapshot_module
from expkit_slurm._submissions.snapshot import Snapshot, copy_sources

TRAIN = """
import json, sys
import models
from expkit_bookkeeping.launching import code_facts
print(json.dumps({"lr": models.LR, **code_facts()}))
"""


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    settings = ["-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"]
    command = ["git", *identity, *settings, *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def folder(tmp_path):
    """A project without git."""
    project = tmp_path / "project"
    put(
        project,
        **{
            "train.py": TRAIN,
            "models.py": "LR = 1\n",
            "conf/config.yaml": "seed: 1\n",
            "net/__init__.py": "",
            "net/layers.py": "",
            "net/names.json": "[]",
            "data/images/1.txt": "x",
            "results/digits/training/a/helper.py": "",
            "results/digits/slurm/20260101T000000-ab12cd/code/train.py": "",
            "runs_of_old/digits/slurm/20260101T000000.123456-ab12cd/code/train.py": "",
            ".venv/lib/python3.11/site-packages/torch.py": "",
            "env/pyvenv.cfg": "",
            "env/tool.py": "",
            "__pycache__/models.py": "",
        },
    )
    return project


@pytest.fixture
def repository(folder):
    """The same with git, which ignores what one ignores."""
    put(folder, **{".gitignore": "data\nresults\nenv\n*.so\n_version.py\ngenerated\n__pycache__\n"})
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def take(folder: Path, *sys_path: Path, script: str | None = "train.py") -> Snapshot:
    return copy_sources(
        folder / "results/digits/slurm/20261128T170509-4f2a9c/code",
        script=None if script is None else folder / script,
        directory=folder,
        sys_path=[str(entry) for entry in sys_path],
    )


def files(snapshot: Snapshot) -> list[str]:
    paths = (path.relative_to(snapshot.target) for path in snapshot.target.rglob("*"))
    return sorted(str(path) for path in paths if not (snapshot.target / path).is_dir())


def run(script: str, snapshot: Snapshot) -> dict:
    """Run a script as a task does."""
    code = (
        "import json, runpy, sys; from pathlib import Path;"
        "from expkit_slurm._submissions.snapshot import Snapshot;"
        "record, target, script = sys.argv[1:];"
        "snapshot = Snapshot.from_record(json.loads(record), Path(target));"
        "snapshot.announce();"
        "sys.path[0] = snapshot.relocated(Path(script).parent);"
        "runpy.run_path(snapshot.relocated(script), run_name='__main__')"
    )
    record = json.dumps(snapshot.to_record())
    command = [sys.executable, "-c", code, record, str(snapshot.target), script]
    done = subprocess.run(command, cwd=snapshot.root, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_what_git_tracks_is_copied_as_it_is_in_the_working_tree(repository):
    put(repository, **{"models.py": "LR = 2\n"})

    snapshot = take(repository)

    assert files(snapshot) == [
        "conf/config.yaml",
        "models.py",
        "net/__init__.py",
        "net/layers.py",
        "net/names.json",
        "train.py",
    ]
    assert (snapshot.target / "models.py").read_text() == "LR = 2\n"
    assert snapshot.commit == git(repository, "rev-parse", "HEAD").strip()
    assert snapshot.dirty is True
    assert (snapshot.files, snapshot.untracked, snapshot.left_out) == (6, (), ())
    assert snapshot.size_bytes == sum(
        (snapshot.target / name).stat().st_size for name in files(snapshot)
    )


def test_what_python_imports_is_copied_though_git_does_not_track_it(repository):
    put(
        repository,
        **{
            "new.py": "",
            "notes.txt": "",
            "net/_version.py": "",
            "net/fast.so": "",
            "generated/__init__.py": "",
            "generated/deep/__init__.py": "",
            "generated/deep/table.json": "{}",
        },
    )

    snapshot = take(repository)

    assert snapshot.untracked == (
        "generated/__init__.py",
        "generated/deep/__init__.py",
        "generated/deep/table.json",
        "net/_version.py",
        "net/fast.so",
        "new.py",
    )
    assert set(snapshot.untracked) < set(files(snapshot))
    assert "notes.txt" not in files(snapshot)
    assert any("not in git, copied all the same: gen" in line for line in snapshot.describe())


def test_without_git_modules_are_copied_and_what_lies_beside_them_in_packages(folder):
    snapshot = take(folder)

    assert files(snapshot) == [
        "models.py",
        "net/__init__.py",
        "net/layers.py",
        "net/names.json",
        "train.py",
    ]
    assert (snapshot.commit, snapshot.dirty, snapshot.untracked) == (None, None, ())


def test_where_git_is_missing_the_repository_is_copied_without_it(repository, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")

    snapshot = take(repository)

    assert "net/layers.py" in files(snapshot)
    assert (snapshot.root, snapshot.commit) == (repository, None)


def test_only_folders_that_the_program_imports_from_are_copied(repository):
    put(
        repository,
        **{"jobs/a.py": "", "src/lib/__init__.py": "", "other/b.py": "", "results2/c.py": ""},
    )
    git(repository, "add", ".")

    snapshot = take(
        repository, repository / "jobs", repository / "src", Path("/usr"), script="jobs/a.py"
    )

    assert files(snapshot) == ["jobs/a.py", "src/lib/__init__.py"]


def test_results_beside_sources_stay_out_and_the_sources_stay_in(repository):
    put(repository, **{"work/helpers.py": "", "work/results/digits/training/a/old.py": ""})
    git(repository, "add", "-f", ".")
    target = repository / "work/results/digits/slurm/20261128T170509-4f2a9c/code"

    snapshot = copy_sources(
        target, script=repository / "train.py", directory=repository, sys_path=[]
    )

    assert "work/helpers.py" in files(snapshot)
    assert [name for name in files(snapshot) if "old.py" in name or "/code/" in name] == []


def test_a_run_from_the_copy_has_the_code_of_then_under_the_names_of_a_live_run(repository):
    live = subprocess.run(
        [sys.executable, "train.py"], cwd=repository, capture_output=True, text=True, check=True
    )
    before = json.loads(live.stdout)
    snapshot = take(repository)
    put(repository, **{"models.py": "LR = 3\n"})
    git(repository, "commit", "-qam", "second")

    after = run(str(repository / "train.py"), snapshot)

    assert after["lr"] == 1
    assert (after["commit"], after["dirty"]) == (before["commit"], False)
    assert after["sources"] == before["sources"]
    assert list(after["sources"]) == ["models.py", "train.py"]


def test_a_path_that_was_not_copied_stays_what_it_is(repository, tmp_path):
    snapshot = take(repository)

    assert snapshot.relocated(repository / "train.py") == str(snapshot.target / "train.py")
    assert snapshot.relocated(str(repository)) == str(snapshot.target)
    for same in (repository / "data", repository / "env", tmp_path / "elsewhere", Path("/usr/lib")):
        assert snapshot.relocated(same) == str(same)


def test_a_project_reached_through_a_link_is_found_in_the_copy(repository, tmp_path):
    (tmp_path / "home").symlink_to(repository)

    snapshot = take(tmp_path / "home", tmp_path / "home")

    assert snapshot.root == repository
    assert snapshot.relocated(tmp_path / "home/train.py") == str(snapshot.target / "train.py")


def test_large_files_are_left_out_and_named(repository, monkeypatch):
    monkeypatch.setattr(snapshot_module, "LARGEST_BYTES", 2_000_000)
    put(repository, **{"weights.bin": "x" * 3_000_000})
    git(repository, "add", "weights.bin")

    snapshot = take(repository)

    assert snapshot.left_out == ("weights.bin (3 MB)",)
    assert not (snapshot.target / "weights.bin").exists()
    assert "    not copied: weights.bin (3 MB)" in snapshot.describe()


def test_links_lead_to_the_copy_where_there_is_one(repository, tmp_path):
    put(tmp_path, **{"shared/lib/tools.py": "LIVE = 1\n", "shared/one.py": "ONE = 1\n"})
    (repository / "alias").symlink_to("net")
    (repository / "lib").symlink_to(tmp_path / "shared/lib")
    (repository / "one.py").symlink_to(tmp_path / "shared/one.py")
    (repository / "gone.py").symlink_to("nothing.py")
    (repository / "net/layers.py").unlink()
    git(repository, "add", "alias", "lib", "one.py", "gone.py")

    snapshot = take(repository)

    assert (snapshot.target / "alias").resolve() == snapshot.target.resolve() / "net"
    assert (snapshot.target / "lib/tools.py").resolve() == tmp_path / "shared/lib/tools.py"
    assert not (snapshot.target / "one.py").is_symlink()
    assert not (snapshot.target / "net/layers.py").exists()  # deleted, though not by `git rm`
    assert snapshot.left_out == ("gone.py (a link to nothing)", "lib (a link, so live)")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_left_out_and_named(repository):
    (repository / "models.py").chmod(0)

    assert take(repository).left_out == ("models.py (cannot be read)",)


def test_submodules_are_part_of_the_project(repository, tmp_path):
    other = tmp_path / "other"
    put(other, **{"sub.py": ""})
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "first")
    git(repository, "submodule", "add", "-q", str(other), "third_party")

    assert "third_party/sub.py" in files(take(repository))


def test_an_editable_install_of_the_project_is_imported_from_the_copy(repository, monkeypatch):
    put(repository, **{"src/mylib/__init__.py": "", "src/single.py": ""})
    finder = ModuleType("__editable___mylib_0_1_finder")
    finder.MAPPING = {
        "mylib": str(repository / "src/mylib"),
        "single": str(repository / "src/single"),
        "theirs": "/opt/theirs",
    }
    monkeypatch.setitem(sys.modules, finder.__name__, finder)
    put(repository, **{"jobs/a.py": ""})

    snapshot = take(repository, script="jobs/a.py")
    environ: dict[str, str] = {}
    snapshot.announce(environ)

    assert dict(finder.MAPPING) == {
        "mylib": str(snapshot.target / "src/mylib"),
        "single": str(snapshot.target / "src/single"),
        "theirs": "/opt/theirs",
    }
    assert json.loads(environ["EXPKIT_SNAPSHOT"])["root"] == str(repository)


def test_sources_outside_the_project_are_said_to_be_live(repository, tmp_path):
    put(tmp_path, **{"mylib/src/mylib.py": ""})

    snapshot = take(repository, tmp_path / "mylib/src", Path(os.__file__).parent)

    assert snapshot.outside == (str(tmp_path / "mylib/src"),)
    assert any("outside the project, so live: " in line for line in snapshot.describe())


def test_a_program_without_sources_here_cannot_be_copied(tmp_path):
    (tmp_path / "work").mkdir()

    with pytest.raises(SlurmError, match="found no sources of the project"):
        take(tmp_path / "work", script=None)


def test_a_folder_that_cannot_be_written_is_said(repository):
    put(repository, **{"results/other": "a file"})

    with pytest.raises(SlurmError, match=r"cannot be copied to .*Nothing has been submitted"):
        copy_sources(
            repository / "results/other/slurm/1/code",
            script=repository / "train.py",
            directory=repository,
            sys_path=[],
        )


def test_the_record_gives_the_snapshot_back(repository, tmp_path):
    snapshot = take(repository)
    record = json.loads(json.dumps(snapshot.to_record()))

    assert Snapshot.from_record(record, snapshot.target) == snapshot


def test_tasks_know_what_differed_from_the_commit_when_the_copy_was_made(repository):
    put(repository, **{"models.py": "LR = 2\n"})
    snapshot = take(repository)
    put(repository, **{"models.py": "LR = 3\n"})

    facts = run("train.py", snapshot)

    assert (facts["lr"], facts["changes_hash"]) == (2, snapshot.changes_hash)
    assert len(snapshot.changes_hash) == 64
    older = {key: fact for key, fact in snapshot.to_record().items() if key != "changes_hash"}
    assert Snapshot.from_record(older, snapshot.target).changes_hash is None
