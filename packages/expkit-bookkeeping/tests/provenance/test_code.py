"""Which code a run was made with: commit, dirty flag, sources; and the configuration's hash."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_bookkeeping import ClaimLost, config_hash, read_run
from expkit_bookkeeping._provenance.environment import environment_facts, gpu_names
from expkit_bookkeeping.launching import (
    claim_run,
    code_changes,
    code_facts,
    move_to_trash,
    recorded_sources,
)

TRAIN = """
from pathlib import Path
import models
from expkit_bookkeeping import Bookkeeping
with Bookkeeping("results/digits/training/a", console=False):
    Path("models.py").write_text("changed = True\\n")
"""


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    command = ["git", *identity, *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "models.py").write_text("changed = False\n")
    (tmp_path / "unused.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


@pytest.fixture
def record(project):
    subprocess.run([sys.executable, "train.py"], cwd=project, check=True)
    return read_run(project / "results/digits/training/a")


def test_a_run_records_commit_dirty_flag_and_its_own_imported_sources(project, record):
    assert record.code["commit"] == git(project, "rev-parse", "HEAD")
    assert record.code["dirty"] is False
    assert list(recorded_sources(record)) == ["models.py", "train.py"]


def test_a_source_edited_during_the_run_is_recorded_as_it_was_imported(project, record):
    assert code_changes(record, project) == ["models.py"]
    (project / "models.py").write_text("changed = False\n")
    assert code_changes(record, project) == []


def test_a_source_that_is_gone_counts_as_changed(project, record):
    (project / "train.py").unlink()

    assert "train.py" in code_changes(record, project)


def test_uncommitted_changes_make_the_code_dirty(project):
    (project / "unused.py").write_text("edited = True\n")
    subprocess.run([sys.executable, "train.py"], cwd=project, check=True)

    assert read_run(project / "results/digits/training/a").code["dirty"] is True


def test_without_git_there_are_sources_all_the_same(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "models.py").write_text("")
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True)

    record = read_run(tmp_path / "results/digits/training/a")
    assert (record.code["commit"], record.code["dirty"]) == (None, None)
    assert list(recorded_sources(record)) == ["models.py", "train.py"]


MANY = """
import importlib, sys
for number in range(500):
    importlib.import_module(f"package_of_this_project.module_{number:03d}")
from expkit_bookkeeping import Bookkeeping
with Bookkeeping("results/digits/training/" + sys.argv[1], swept={"seed": 1}) as run:
    for epoch in range(2):
        run.log_metrics({"loss": 0.5, "val_accuracy": 0.5}, step=epoch)
        run.save_checkpoint(epoch)
"""


@pytest.fixture
def large_project(tmp_path):
    package = tmp_path / "package_of_this_project"
    package.mkdir()
    (package / "__init__.py").touch()
    for number in range(500):
        (package / f"module_{number:03d}.py").write_text(f"VALUE = {number}\n")
    (tmp_path / "train.py").write_text(MANY)
    return tmp_path


def test_the_sources_of_a_large_project_are_stored_once_for_all_runs(large_project):
    pytest.importorskip("torch")
    for name in ("a", "b"):
        subprocess.run([sys.executable, "train.py", name], cwd=large_project, check=True)

    experiment = large_project / "results/digits"
    (stored,) = (experiment / "code").iterdir()
    for name in ("a", "b"):
        record = read_run(experiment / "training" / name)
        assert (record.folder / "run.json").stat().st_size <= 2500
        assert record.code["sources_hash"] == stored.stem
        assert len(recorded_sources(record)) == 502
        assert code_changes(record, large_project) == []
    (large_project / "package_of_this_project/module_007.py").write_text("VALUE = 8\n")
    assert code_changes(record, large_project) == ["package_of_this_project/module_007.py"]


def test_a_file_of_sources_is_never_written_again(project, record):
    (stored,) = (project / "results/digits/code").iterdir()
    before = stored.stat()
    subprocess.run(["git", "checkout", "-q", "models.py"], cwd=project, check=True)
    subprocess.run([sys.executable, "train.py"], cwd=project, check=True)

    assert (stored.stat().st_ino, stored.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(stored.parent.iterdir()) == [stored]


def test_a_run_in_the_trash_keeps_its_record_of_sources(project, record):
    before = recorded_sources(record)
    trash = move_to_trash(record, reason="cleanup")

    assert recorded_sources(read_run(trash)) == before
    assert (project / "results/digits/code").is_dir()


def test_a_run_outside_an_experiment_keeps_its_sources_in_its_own_folder(project):
    script = TRAIN.replace("results/digits/training/a", "runs/a")
    (project / "train.py").write_text(script)
    subprocess.run([sys.executable, "train.py"], cwd=project, check=True)
    assert sorted(path.name for path in (project / "runs").iterdir()) == ["a"]

    moved = (project / "runs" / "a").rename(project / "b")

    assert list(recorded_sources(read_run(moved))) == ["models.py", "train.py"]


def test_sources_in_run_json_itself_are_read_as_version_0_1_0_wrote_them(project, record):
    path = record.folder / "run.json"
    code = {"commit": None, "dirty": None, "sources": recorded_sources(record)}
    path.write_text(json.dumps({**record.data, "code": code}))

    older = read_run(record.folder)

    assert recorded_sources(older) == recorded_sources(record)
    assert code_changes(older, project) == code_changes(record, project) == ["models.py"]


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        lambda path: path.write_text(path.read_text().replace("models.py", "others.py")),
        lambda path: path.write_text(path.read_text()[:-20]),
        lambda path: path.write_text(path.read_text().replace('"schema": 1', '"schema": 2')),
    ],
    ids=["gone", "changed", "torn", "newer"],
)
def test_a_lost_record_of_sources_is_said_and_not_taken_for_this_code(project, record, spoil):
    (stored,) = (project / "results/digits/code").iterdir()
    spoil(stored)

    assert recorded_sources(record) is None
    assert code_changes(record, project) == [f"code/{stored.name}"]


@pytest.mark.parametrize("digest", ["../../secret", "", 7, None, "A" * 64])
def test_a_run_json_cannot_name_a_file_elsewhere(project, record, digest):
    path = record.folder / "run.json"
    path.write_text(json.dumps({**record.data, "code": {"sources_hash": digest}}))

    assert recorded_sources(read_run(record.folder)) is None


def test_an_experiment_that_refuses_the_sources_leaves_them_to_run_json(project, record):
    experiment = project / "results" / "digits"
    shutil.rmtree(experiment / "code")
    (experiment / "code").touch()  # as a full disk or a missing permission would

    (record.folder / "run.json").write_text(json.dumps({**record.data, "state": "failed"}))
    subprocess.run([sys.executable, "train.py"], cwd=project, check=True)

    record = read_run(record.folder)
    assert list(record.code["sources"]) == ["models.py", "train.py"]

    assert recorded_sources(record) == record.code["sources"]


def test_a_run_whose_experiment_was_moved_away_makes_no_new_one(tmp_path):
    experiment = tmp_path / "digits"
    claim = claim_run(experiment / "training" / "a")
    experiment.rename(tmp_path / "elsewhere")

    with pytest.raises(ClaimLost):
        claim.finish("completed")

    assert not experiment.exists()


def test_a_package_run_with_dash_m_is_seen_from_above_its_top_level(tmp_path):
    package = tmp_path / "project"
    (package / "training").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "training" / "__init__.py").write_text("")
    (package / "training" / "run.py").write_text(
        "from expkit_bookkeeping.launching import code_facts; print(*code_facts()['sources'])"
    )

    done = subprocess.run(
        [sys.executable, "-m", "project.training.run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == [
        "project/__init__.py",
        "project/training/__init__.py",
        "project/training/run.py",
    ]


COPIED = """
import json, os, sys
copy, root = sys.argv[1:3]
os.environ["EXPKIT_SNAPSHOT"] = json.dumps(
    {"copy": copy, "root": root, "commit": "4f2a", "dirty": False}
)
sys.path[0] = copy if "copied" in sys.argv else root
import models
from expkit_bookkeeping import read_run
from expkit_bookkeeping.launching import code_changes, code_facts
record = read_run(os.path.join(root, "results/digits/training/a"))
print(json.dumps([code_facts(), code_changes(record)]))
"""


@pytest.fixture
def copy(project):
    """The project's models.py as it was, copied before the project's was edited."""
    folder = project / "results/digits/slurm/1/code"
    folder.mkdir(parents=True)
    (folder / "models.py").write_text("changed = False\n")
    return folder


def from_copy(copy, project, *words):
    command = [sys.executable, "-c", COPIED, str(copy), str(project), *words]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_code_imported_from_a_copy_is_recorded_under_the_projects_names(project, record, copy):
    code, changed = from_copy(copy, project, "copied")

    assert code["commit"] == "4f2a"
    assert code["sources"] == {"models.py": recorded_sources(record)["models.py"]}
    assert changed == []  # although the project's own models.py is another one now


def test_a_copy_that_a_process_does_not_import_from_is_not_its_code(project, record, copy):
    code, changed = from_copy(copy, project)

    assert code["commit"] == git(project, "rev-parse", "HEAD")
    assert code["sources"]["models.py"] != recorded_sources(record)["models.py"]
    assert changed == ["models.py"]


def test_installed_packages_are_not_the_projects_own():
    sources = code_facts(Path("/"))["sources"]

    assert not [name for name in sources if "site-packages" in name]
    assert not [name for name in sources if name.endswith("/json/__init__.py")]


def test_a_virtual_environment_inside_the_project_is_not_its_code(tmp_path, monkeypatch):
    for name in ("mine", ".venv/src/theirs"):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        monkeypatch.setitem(sys.modules, path.stem, module)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))

    assert list(code_facts(tmp_path)["sources"]) == ["mine.py"]


def test_what_is_imported_or_loaded_again_meanwhile_is_seen(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "first_of_mine.py").write_text("VALUE = 1\n")
    first = importlib.import_module("first_of_mine")
    before = code_facts(tmp_path)["sources"]
    (tmp_path / "second_of_mine.py").write_text("")
    importlib.import_module("second_of_mine")
    grown = code_facts(tmp_path)["sources"]
    (tmp_path / "first_of_mine.py").write_text("VALUE = 22\n")
    importlib.reload(first)
    reloaded = code_facts(tmp_path)["sources"]

    assert list(before) == ["first_of_mine.py"]
    assert grown == before | {"second_of_mine.py": grown["second_of_mine.py"]}
    assert reloaded["first_of_mine.py"] != before["first_of_mine.py"]
    for name in ("first_of_mine", "second_of_mine"):
        del sys.modules[name]
    assert code_facts(tmp_path)["sources"] == {}


def test_where_a_module_lies_is_asked_of_the_disk_once(monkeypatch):
    first = code_facts()
    asked = []
    resolve = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda *a, **k: asked.append(a) or resolve(*a, **k))

    assert code_facts() == first
    assert len(asked) <= 3  # the main script's, but not one a module


def test_gpus_are_named_from_the_drivers_files_and_not_through_cuda(tmp_path):
    gpu = tmp_path / "0000:3b:00.0"
    gpu.mkdir()
    (gpu / "information").write_text("Model: \t\t NVIDIA H200\nIRQ:   \t 34\n")

    assert gpu_names(tmp_path) == ["NVIDIA H200"]
    assert gpu_names(tmp_path / "nothing") == []


def test_the_environment_has_versions_and_no_variables():
    facts = environment_facts({"CUDA_VISIBLE_DEVICES": "0", "TOKEN": "secret"})

    assert facts["versions"]["pytest"] == pytest.__version__
    assert facts["cuda_visible_devices"] == "0"
    assert "secret" not in str(facts)


LEAVES = st.none() | st.booleans() | st.integers(0, 3) | st.floats() | st.sampled_from("ab1")
KEYS = st.sampled_from("abc")
CONFIGS = st.dictionaries(
    KEYS, LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(KEYS, LEAVES, max_size=2)
)


@given(CONFIGS)
def test_the_order_of_keys_does_not_change_the_hash(config):
    assert config_hash(dict(reversed(config.items()))) == config_hash(config)


@given(CONFIGS, CONFIGS)
def test_different_configurations_have_different_hashes(left, right):
    assert (config_hash(left) == config_hash(right)) == (repr_of(left) == repr_of(right))


def repr_of(value: object) -> object:
    """The identity that the hash stands for: types count, the order of keys does not."""
    if isinstance(value, dict):
        return {key: repr_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [repr_of(item) for item in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(value)]
    return value if isinstance(value, str) else (type(value), repr(value))


def test_tuples_are_lists_and_notations_of_a_number_are_one():
    assert config_hash({"size": (1, 2), "lr": 1e-3}) == config_hash({"lr": 0.001, "size": [1, 2]})
    assert config_hash({"a": 1}) != config_hash({"a": 1.0})
    assert config_hash({"path": Path("a/b")}) == config_hash({"path": "a/b"})


def test_a_dict_config_has_the_hash_of_its_content():
    omegaconf = pytest.importorskip("omegaconf")
    config = {"model": {"layers": [1, 2]}, "lr": 0.1}

    assert config_hash(omegaconf.OmegaConf.create(config)) == config_hash(config)
