"""`expkit reproduce`: a run from its commit and changes, in a folder of its own."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from expkit_bookkeeping import find_runs, read_run
from expkit_bookkeeping.reading import read_curves
from expkit_hydra.commands import reproduce

TRAIN = """
import random

import hydra

from expkit_bookkeeping import Bookkeeping
from tiny.model import step


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    random.seed(cfg.seed)
    weight = random.random()
    with open(cfg.data.root + "/numbers.txt") as file:
        numbers = [float(line) for line in file]
    with Bookkeeping.from_config(cfg) as run:
        for epoch in range(cfg.epochs):
            weight = step(weight, random.choice(numbers), cfg.lr)
            run.log_metrics({"loss": weight}, step=epoch)


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, data: small, _self_]
experiment_id: first
seed: 1
lr: 0.1
epochs: 3
device: ${oc.env:TINY_DEVICE,cpu}
expkit: {after: [], metric: loss}
hydra: {sweeper: {params: {seed: [1, 2]}}}
"""
FILES = {
    "jobs/train.py": TRAIN,
    "jobs/conf/config.yaml": CONFIG,
    "jobs/conf/data/small.yaml": "root: data\n",
    "src/tiny/__init__.py": "",
    "src/tiny/model.py": "def step(weight, number, lr):\n    return weight - lr * number\n",
    "data/numbers.txt": "0.1\n0.7\n0.3\n",
    ".gitignore": "results/\n",
}
CHANGED = "def step(weight, number, lr):\n    return weight - lr * number / 3 + scale()\n"
NEW = "def scale():\n    return 0.1\n"


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def run(folder: Path, *command: str, **variables: str) -> str:
    environ = {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def train(project: Path, *arguments: str) -> None:
    # As an editable install would: the package is found wherever the program is started.
    path = str(project / "src")
    run(project, sys.executable, "jobs/train.py", *arguments, PYTHONPATH=path)


def curve(run_folder: Path) -> tuple[list[float], list[float]]:
    loss = read_curves(run_folder)["loss"]
    return list(loss.steps), list(loss.values)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A grid trained with a dirty tree; after it the code has changed, and is committed."""
    project = tmp_path_factory.mktemp("trained") / "project"
    put(project, FILES)
    git(project.parent, "init", "-q", str(project))
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    put(project, {"src/tiny/model.py": "from tiny.scale import scale\n" + CHANGED})
    put(project, {"src/tiny/scale.py": NEW, "notes.txt": "mine"})
    train(project, "-m", "lr=0.25")
    put(project, {"src/tiny/model.py": "def step(*_):\n    return 0.0\n"})
    (project / "src/tiny/scale.py").unlink()
    (project / "notes.txt").unlink()
    git(project, "commit", "-qam", "another idea")
    return project


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    """A copy of its own; its records say where they were made."""
    shutil.copytree(trained, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "project"


def experiment(project: Path) -> str:
    return str(project / "results" / "first")


def test_a_run_of_a_dirty_tree_trains_again_to_the_same_bits(trained, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    made = tmp_path / "again"

    assert reproduce([experiment(trained), "2", "--to", str(made)]) == 1

    output = capsys.readouterr().out
    assert "4 of 4 imported files are as they were" in output
    missing = output.partition("could not bring back:\n")[2].split("results:")[0]
    assert missing.split("\n") == [
        "  changes: not kept: notes.txt (neither source nor configuration)", ""
    ]  # fmt: skip
    after = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    assert after == before  # working tree, index and objects
    moved = made.rename(tmp_path / "moved elsewhere")
    path = str(trained / "src")  # the package is installed as the project has it now
    run(tmp_path, "sh", str(moved / "reproduce.sh"), PYTHON=sys.executable, PYTHONPATH=path)
    (again,) = find_runs(moved / "results/first")
    first = read_run(trained / "results/first/training/2")
    assert curve(again.folder) == curve(first.folder)
    assert again.config_hash == first.config_hash
    assert again.code["sources_hash"] == first.code["sources_hash"]
    assert curve(trained / "results/first/training/1") != curve(first.folder)
    assert yaml.safe_load((moved / "config.yaml").read_text())["lr"] == 0.25
    assert git(moved / "code", "rev-parse", "HEAD") == first.code["commit"]


def lines_of(project: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    code = reproduce([experiment(project), "2", "--json", *arguments])
    answer = json.loads(capsys.readouterr().out)
    assert code == (1 if answer["missing"] else 0)
    assert Path(answer["folder"]).is_dir()
    return answer["missing"]


def change(path: Path, **keys: object) -> None:
    read, write = (
        (json.loads, json.dumps) if path.suffix == ".json" else (yaml.safe_load, yaml.dump)
    )
    path.write_text(write({**read(path.read_text()), **keys}))


def test_what_cannot_be_brought_back_is_said_line_by_line(project, capsys, monkeypatch):
    run_folder = project / "results/first/training/2"
    facts = yaml.safe_load((run_folder / "environment.yaml").read_text())
    data = project / "data/ignored"
    data.mkdir()
    change(
        run_folder / "environment.yaml",
        python="3.10.1",
        gpus=["NVIDIA H200"],
        folder=str(project),
        versions={**facts["versions"], "omegaconf": "2.3.0rc1", "no_such_package": "1.0"},
    )
    hydra = yaml.safe_load((run_folder / ".hydra/hydra.yaml").read_text())
    hydra["hydra"]["runtime"]["cwd"] = str(project)
    (run_folder / ".hydra/hydra.yaml").write_text(yaml.dump(hydra))
    change(
        run_folder / "config.yaml",
        data={"root": "data/ignored", "large": "/no/such/corpus"},
        db={"password": "***", "token": "${oc.env:DB_TOKEN}"},
        device="cuda",
        mlflow={"tracking_uri": "http://tracking.example.org"},
    )
    monkeypatch.setenv("TINY_DEVICE", "cpu")

    missing = lines_of(project, capsys)

    for text in (
        "Python: 3.10.1 then, ",
        "GPUs: NVIDIA H200 then, ",
        "omegaconf 2.3.0rc1 then, ",
        "no_such_package 1.0 then, missing here",
        f"data: data.root is data/ignored, which is not in git: link {data}",
        "data: data.large is /no/such/corpus, which is not on this machine",
        "variable: device came from ${oc.env:TINY_DEVICE,cpu} and was 'cuda'",
        "secret: db.password is not recorded; it was written in the configuration itself",
        "secret: db.token is not recorded; it was read from ${oc.env:DB_TOKEN}",
    ):
        assert any(text in line for line in missing), text
    made = Path("reproduced/2")
    assert (made.parent / ".gitignore").read_text() == "*\n"
    assert "no_such_package==1.0" in (made / "requirements.txt").read_text()
    assert all(line in (made / "README.md").read_text() for line in missing)


def test_a_source_that_is_another_one_than_the_run_imported_is_named(project, capsys):
    (patch,) = (project / "results/first/code").glob("*.patch")
    patch.unlink()

    missing = lines_of(project, capsys)

    assert "changes: their record is gone or damaged" in missing
    assert "code: not in git: src/tiny/scale.py" in missing
    assert "code: another content than the run imported: src/tiny/model.py" in missing


def test_a_folder_with_something_in_it_is_never_touched(project, tmp_path, capsys):
    mine = tmp_path / "mine"
    put(mine, {"notes.txt": "mine"})

    assert reproduce([experiment(project), "2", "--to", str(mine)]) == 2
    assert reproduce([experiment(project), "2", "--to", str(mine / "notes.txt")]) == 2

    assert "is not empty: nothing in it is touched" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    (mine / "notes.txt").unlink()
    assert reproduce([experiment(project), "2", "--to", str(mine)]) == 1
    assert (mine / "reproduce.sh").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "project"]


def test_results_without_their_repository_need_one_that_has_the_commit(
    project, trained, tmp_path, capsys
):
    results = (project / "results").rename(tmp_path / "results")
    shutil.rmtree(project)
    for path in results.glob("first/training/2/**/*.yaml"):
        path.write_text(path.read_text().replace(str(trained), str(tmp_path / "gone")))
    command = [str(results / "first"), "2"]

    assert reproduce(command) == 2

    error = capsys.readouterr().err
    assert "no repository here has it" in error
    assert "--repository DIR" in error
    assert not Path("reproduced").exists()
    assert reproduce([*command, "--repository", str(trained / "src")]) == 1
    assert (Path("reproduced/2/code/src/tiny/scale.py")).read_text() == NEW


def test_a_commit_to_which_no_branch_leads_any_more_is_found(project, capsys):
    commit = read_run(project / "results/first/training/2").code["commit"]
    git(project, "checkout", "-q", "--orphan", "rewritten")
    git(project, "commit", "-qam", "all in one")
    for branch in git(project, "branch", "--format=%(refname:short)").split():
        if branch != "rewritten":
            git(project, "branch", "-qD", branch)

    lines_of(project, capsys)

    assert git(Path("reproduced/2/code"), "rev-parse", "HEAD") == commit


def test_a_run_outside_git_has_its_configuration_and_no_script(project, capsys):
    change(project / "results/first/training/2/run.json", code={"commit": None})

    missing = lines_of(project, capsys)

    assert any("code: no commit, as the run was made outside a git" in line for line in missing)
    made = Path("reproduced/2")
    assert sorted(path.name for path in made.iterdir()) == [
        "README.md", "config.yaml", "requirements.txt"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["results/first", "3"], "No run '3'"),
        (["results/frist", "2"], "Did you mean results/first?"),
    ],
)
def test_bad_input_makes_nothing(project, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(project)

    assert reproduce(arguments) == 2

    assert says in capsys.readouterr().err
    assert not Path("reproduced").exists()


def test_nothing_in_a_results_folder_leads_out_of_the_new_one(project, tmp_path, capsys):
    run_folder = project / "results/first/training/2"
    code = read_run(run_folder).code
    commit = code["commit"]
    patch = (
        "\ndiff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/{}\n@@ -0,0 +1 @@\n+x\n"
    )
    for number, name in enumerate(["../../out.py", ".git/hooks/post-checkout", "/tmp/out.py"]):
        text = patch.format(name)
        digest = hashlib.sha256(text.encode()).hexdigest()
        (project / f"results/first/code/{digest}.patch").write_text(text)
        change(run_folder / "run.json", code={"commit": commit, "changes_hash": digest})
        missing = lines_of(project, capsys, "--to", f"made{number}")
        assert any("changes.patch cannot be applied" in line for line in missing)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "made0", "made1", "made2", "project"
    ]  # fmt: skip

    hostile = '"; touch hacked; $(touch hacked) `touch hacked`'
    change(run_folder / "run.json", code=code, grid_id=None)
    change(run_folder / "environment.yaml", command=["jobs/train.py"])
    (run_folder / ".hydra/overrides.yaml").write_text(yaml.dump([f"+note='{hostile}'"]))
    lines_of(project, capsys, "--to", "made")
    run(tmp_path, "sh", "made/reproduce.sh", PYTHON=sys.executable, TINY_DEVICE="cpu")
    assert not list(tmp_path.rglob("hacked"))

    change(run_folder / "run.json", code={"commit": "--upload-pack=touch hacked"})
    assert any("is none; hashes of" in line for line in lines_of(project, capsys, "--to", "b"))


PLAIN = """
from expkit_bookkeeping import Bookkeeping

with Bookkeeping("results/first/training/2", console=False) as run:
    run.log_metrics({"loss": 0.5}, step=0)
"""


def test_a_plain_script_runs_in_the_checkout(tmp_path, monkeypatch, capsys):
    project = tmp_path / "project"
    put(project, {"train.py": PLAIN, ".gitignore": "results/\n"})
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "first")
    run(project, sys.executable, "-u", "train.py", "--fast")
    monkeypatch.chdir(tmp_path)

    missing = lines_of(project, capsys)

    assert any("results: no Hydra app" in line for line in missing)
    run(tmp_path, "sh", "reproduced/2/reproduce.sh", PYTHON=sys.executable)
    again = Path("reproduced/2/code/results/first/training/2")
    assert curve(again) == ([0], [0.5])
    environment = yaml.safe_load((again / "environment.yaml").read_text())
    assert environment["command"] == ["-u", "train.py", "--fast"]


def test_the_primary_configuration_is_the_one_that_was_named(project, capsys):
    path = project / "results/first/grids"
    for description in path.glob("*/grid_search.yaml"):
        change(description, command=["-X", "dev", "jobs/train.py", "-cn", "other", "-m", "seed=7"])

    lines_of(project, capsys)

    script = Path("reproduced/2/reproduce.sh").read_text()
    assert "-X dev jobs/train.py -cn other seed=2 lr=0.25" in script
    assert "seed=7" not in script
