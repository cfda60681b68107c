"""What differs from the commit when a run is started: kept as a patch, once per content."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from expkit_bookkeeping import read_run
from expkit_bookkeeping._provenance import repository
from expkit_bookkeeping.launching import code_facts, move_to_trash, recorded_changes

TRAIN = """
import sys
import models
from expkit_bookkeeping import Bookkeeping
for name in sys.argv[1:]:
    with Bookkeeping(f"results/digits/training/{name}", console=False):
        pass
"""


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    command = ["git", *identity, *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def put(folder: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def project(tmp_path):
    project = tmp_path / "project"
    put(
        project,
        **{
            "train.py": TRAIN,
            "models.py": "WIDTH = 1\n",
            "conf/config.yaml": "lr: 0.1\n",
            "old.py": "",
            "weights.bin": bytes(range(256)),
            ".gitignore": "*.log\nsecret_folder/\n",
        },
    )
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    return project


def train(project: Path, *names: str, **variables: str):
    environ = {**os.environ, **variables}
    subprocess.run([sys.executable, "train.py", *names], cwd=project, check=True, env=environ)
    return read_run(project / "results/digits/training" / names[-1])


def brought_back(project: Path, patch: bytes, folder: Path) -> dict[str, bytes]:
    """The files of the commit with the patch applied."""
    git(project.parent, "clone", "-q", str(project), str(folder))
    (folder / ".git" / "changes").write_bytes(patch)
    git(folder, "apply", "--whitespace=nowarn", ".git/changes")
    return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def left_out(patch: bytes) -> list[str]:
    lines = patch.decode().split("diff --git")[0].splitlines()
    return [line.removeprefix("# left out: ") for line in lines if "left out" in line]


def test_a_clean_tree_has_no_changes(project):
    record = train(project, "a")

    assert record.code["changes_hash"] is None
    assert recorded_changes(record) is None
    assert [path.suffix for path in (project / "results/digits/code").iterdir()] == [".json"]


def test_the_working_tree_comes_back_from_commit_and_patch(project, tmp_path):
    put(
        project,
        **{
            "models.py": "WIDTH = 2",  # no line break at its end
            "conf/config.yaml": b"# caf\xe9\r\nlr: 0.2\r\n",  # latin-1
            "weights.bin": bytes(reversed(range(256))),
            "layers/__init__.py": "",
            "layers/wide ü.py": "DEPTH = 3\n",
            "conf/model/large.yaml": "width: 2\n",
        },
    )
    (project / "old.py").unlink()
    (project / "run.sh").write_text("#!/bin/sh\n")
    (project / "run.sh").chmod(0o755)
    put(project, **{"staged.py": "", "staged and gone.py": ""})
    git(project, "add", "staged.py", "staged and gone.py")
    (project / "staged and gone.py").unlink()
    expected = files(project)
    before = git(project, "status", "--short"), files_of_git(project)

    record = train(project, "a")

    clone = tmp_path / "clone"
    assert brought_back(project, recorded_changes(record), clone) == expected
    assert os.access(clone / "run.sh", os.X_OK)
    shutil.rmtree(project / "results")
    shutil.rmtree(project / "__pycache__", ignore_errors=True)
    assert (git(project, "status", "--short"), files_of_git(project)) == before


def files_of_git(project: Path) -> set[str]:
    return {str(path) for path in (project / ".git").rglob("*")}


def test_whatever_the_users_git_settings_are_the_patch_can_be_applied(project, tmp_path):
    for key, value in {
        "diff.noprefix": "true", "color.ui": "always", "diff.external": "false",
        "core.quotepath": "true", "status.relativePaths": "false", "diff.renames": "copies",
        "status.short": "true", "diff.mnemonicPrefix": "true",
    }.items():  # fmt: skip
        git(project, "config", key, value)
    put(project, **{"models.py": "WIDTH = 2\n", "größer.py": "x = 1\n"})
    (project / "old.py").rename(project / "renamed.py")
    expected = files(project)

    record = train(project, "a")

    assert brought_back(project, recorded_changes(record), tmp_path / "clone") == expected


def test_what_is_neither_source_nor_configuration_is_named_and_not_kept(project):
    put(
        project,
        **{
            "models.py": "WIDTH = 2\n",
            "notes.txt": "x",
            "generated.py": "x = 1\n" * 200_000,
            "ignored.log": "x",
            "secret_folder/m.py": "",
            ".hidden/m.py": "",
            "mlruns/0/meta.yaml": "id: 0\n",
            "venv/pyvenv.cfg": "home = /usr\n",
            "venv/lib/m.py": "",
            "runs/a/grid_search.yaml": "schema: 1\n",
            "runs/a/slurm/1/code/m.py": "",
        },
    )
    (project / "link.py").symlink_to("/etc/hostname")

    patch = recorded_changes(train(project, "a"))

    assert patch.count(b"diff --git") == 1
    assert sorted(left_out(patch)) == [
        "generated.py (1 MB)",
        "link.py (no regular file)",
        "notes.txt (neither source nor configuration)",
    ]


def test_a_large_file_of_data_in_git_does_not_fill_the_results(project):
    put(project, **{"data.bin": b"x", "models.py": "WIDTH = 2\n"})
    git(project, "add", "data.bin")
    git(project, "commit", "-qm", "data", "data.bin")
    put(project, **{"data.bin": os.urandom(11_000_000)})

    patch = recorded_changes(train(project, "a"))

    assert len(patch) < 2000
    assert left_out(patch) == ["data.bin (11 MB)"]


def test_a_new_source_makes_the_code_dirty_and_a_new_file_of_data_does_not(project):
    put(project, **{"notes.txt": ""})
    assert train(project, "a").code["dirty"] is False
    put(project, **{"new.py": ""})
    assert train(project, "b").code["dirty"] is True


def test_the_results_of_earlier_runs_are_no_changes(project):
    put(project, **{"models.py": "WIDTH = 2\n"})
    first = train(project, "a")
    again = train(project, "b")

    assert again.code == first.code
    stored = sorted(path.suffix for path in (project / "results/digits/code").iterdir())
    assert stored == [".json", ".patch"]


@pytest.fixture
def counted_git(tmp_path):
    """A folder for PATH whose git counts its calls, and the file with one line per call."""
    calls = tmp_path / "calls"
    script = tmp_path / "bin" / "git"
    put(script.parent, git=f'#!/bin/sh\necho "$@" >> {calls}\nexec {shutil.which("git")} "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}", calls


def test_git_is_asked_once_by_a_process_with_many_runs(project, counted_git):
    path, calls = counted_git
    train(project, *map(str, range(30)), PATH=path)
    assert len(calls.read_text().splitlines()) == 1

    calls.unlink()
    put(project, **{"models.py": "WIDTH = 2\n", "new/a.py": ""})
    train(project, *map(str, range(30, 60)), PATH=path)
    assert 1 < len(calls.read_text().splitlines()) <= 5


def test_a_new_folder_that_is_too_large_to_list_holds_up_no_run(project, tmp_path, monkeypatch):
    put(project, **{"models.py": "WIDTH = 2\n", "new.py": "", "images/a.py": ""})
    slow = f'case "$*" in *ls-files*) exec sleep 60;; esac\nexec {shutil.which("git")} "$@"\n'
    put(tmp_path / "bin", git=f"#!/bin/sh\n{slow}")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(repository, "LISTING_TIMEOUT_S", 0.1)

    patch = repository.repository_state(project).patch

    assert left_out(patch) == ["images/ (too many files to list)"]
    assert patch.count(b"diff --git") == 2


def test_all_runs_of_a_process_have_the_changes_with_which_it_started(project):
    script = TRAIN.replace("        pass", "        open('models.py', 'a').write('WIDTH = 3')")
    put(project, **{"train.py": script})

    second = train(project, "a", "b")

    assert read_run(second.folder.parent / "a").code == second.code
    assert b"a/models.py" not in recorded_changes(second)


def test_a_run_in_the_trash_keeps_its_changes(project):
    put(project, **{"models.py": "WIDTH = 2\n"})
    record = train(project, "a")
    before = recorded_changes(record)

    trash = move_to_trash(record, reason="cleanup")

    assert before is not None
    assert recorded_changes(read_run(trash)) == before


@pytest.mark.parametrize("digest", ["../../secret", "", 7, None, "A" * 64])
def test_a_run_json_cannot_name_a_patch_elsewhere(project, digest):
    record = train(project, "a")
    path = record.folder / "run.json"
    path.write_text(json.dumps({**record.data, "code": {"changes_hash": digest}}))

    assert recorded_changes(read_run(record.folder)) is None


def test_a_damaged_patch_is_none(project):
    put(project, **{"models.py": "WIDTH = 2\n"})
    record = train(project, "a")
    (stored,) = (project / "results/digits/code").glob("*.patch")
    stored.write_bytes(stored.read_bytes() + b"\n")

    assert recorded_changes(record) is None


def test_a_repository_without_a_commit_has_no_changes(tmp_path):
    put(tmp_path, **{"a.py": ""})
    git(tmp_path, "init", "-q")

    facts = code_facts(tmp_path)

    assert (facts["commit"], facts["changes_hash"]) == (None, None)


SECRET = "hunter2-of-ada"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("conf/db.yaml", f"password: {SECRET}"),
        ("conf/db.yaml", f"# password: {SECRET}"),
        ("conf/db.yaml", f"services:\n  - api_key: '{SECRET}'  # mine"),
        ("conf/db.yaml", f"db: {{user: ada, password: {SECRET}}}"),
        ("conf/db.yaml", f"uri: postgresql://ada:{SECRET}@db/x"),
        ("pyproject.toml", f'hf_token = "{SECRET}"'),
        ("setup.ini", f"access-key={SECRET}"),
        ("conf/db.yaml", f"db: [{{user: ada, password: {SECRET}}}, {{api_key: '{SECRET}'}}]"),
        ("conf/db.yaml", f"db: {{password: two words of {SECRET}, user: ada}}"),
        ("job.cfg", f"HOST=a PASSWORD={SECRET}"),
        ("conf/db.yaml", f'db: {{"user": "ada", "password": "{SECRET}"}}'),
    ],
)
def test_a_new_line_of_a_configuration_shows_no_secret(project, tmp_path, name, line):
    put(project, **{name: f"first: 1\n{line}\n"})

    patch = recorded_changes(train(project, "a"))

    assert SECRET not in patch.decode()
    assert not left_out(patch)
    after = brought_back(project, patch, tmp_path / "clone")[name].decode()
    assert "***" in after
    assert after.splitlines()[0] == "first: 1"
    if name.endswith("yaml"):
        yaml = pytest.importorskip("yaml")
        assert yaml.safe_load(after)["first"] == 1


def test_references_to_secrets_and_what_is_no_secret_stay_as_they_are(project, tmp_path):
    text = """
password: ${oc.env:DB_PASSWORD}
db: {user: "ada", api_key: "${oc.env:KEY,${other.key}}", pad_token: <pad>}
tokens: 100
uri: postgresql://ada@db/x?sslmode=on
hf_token: null
"""
    put(project, **{"conf/db.yaml": text, "conf/db.toml": 'name = "x = 1, y: 2"  # password\n'})

    patch = recorded_changes(train(project, "a"))

    assert not left_out(patch)
    assert brought_back(project, patch, tmp_path / "clone")["conf/db.yaml"].decode() == text


def test_a_secret_beside_a_change_of_a_committed_configuration_is_not_copied(project):
    put(project, **{"conf/db.yaml": f"user: ada\npassword: {SECRET}\n"})
    git(project, "add", ".")
    git(project, "commit", "-qm", "oh no")
    put(project, **{"conf/db.yaml": f"user: bob\npassword: {SECRET}\n", "models.py": "W = 2\n"})

    patch = recorded_changes(train(project, "a"))

    assert SECRET not in patch.decode()
    assert patch.count(b"diff --git") == 1
    assert left_out(patch) == ["conf/db.yaml (it shows a secret that stands in it)"]


def test_a_secret_far_above_a_change_is_not_in_its_heading(project, tmp_path):
    lines = [f"password: {SECRET}", *(f"  - {number}" for number in range(20))]
    put(project, **{"conf/db.yaml": "\n".join(lines)})
    git(project, "add", ".")
    git(project, "commit", "-qm", "oh no")
    text = "\n".join([*lines[:15], "  - 15.5", *lines[15:]])
    put(project, **{"conf/db.yaml": text})

    patch = recorded_changes(train(project, "a"))

    assert SECRET not in patch.decode()
    assert brought_back(project, patch, tmp_path / "clone")["conf/db.yaml"].decode() == text


def test_a_key_in_several_lines_is_not_copied(project):
    text = f"private_key: |\n  BEGIN\n  {SECRET}\n"
    put(project, **{"conf/db.yaml": text})

    patch = recorded_changes(train(project, "a"))

    assert SECRET not in patch.decode()
    assert left_out(patch) == ["conf/db.yaml (it shows a secret that stands in it)"]
