"""`expkit export`: an experiment as one zip for somebody else."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from expkit_bookkeeping import Bookkeeping, find_runs
from expkit_hydra.commands import export, status


def make_run(experiment: Path, name: str, states: tuple[str, ...] = ()) -> Path:
    with Bookkeeping(experiment / "training" / name, console=False, swept={"seed": 1}) as run:
        run.log_metrics({"loss": 0.5}, step=0)
        for state in states:
            (run.folder / "states").mkdir(exist_ok=True)
            (run.folder / "states" / state).write_bytes(state.encode() * 100)
    return run.folder


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Two runs, one with a best checkpoint and one without."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results/first")
    make_run(folder, "a", ("epoch_0000.pt", "epoch_0001.pt", "best.pt", "encoder.pt"))
    make_run(folder, "b", ("epoch_0000.pt", "epoch_0001.pt"))
    return folder


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")


def names(path: Path = Path("first.zip")) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def states(path: Path = Path("first.zip")) -> list[str]:
    return [name.removeprefix("first/training/") for name in names(path) if "/states/" in name]


def test_the_zip_has_what_makes_results_and_no_checkpoints_to_resume_from(experiment, capsys):
    put(experiment, "plots/loss_0.png", "report.html", "code/abc.patch")

    assert export([str(experiment)]) == 0

    output = capsys.readouterr().out
    assert "first.zip: 2 runs (2 completed), " in output
    assert "without 3 checkpoints to resume from" in output
    assert {
        "first/README.md",
        "first/results.csv",
        "first/report.html",
        "first/plots/loss_0.png",
        "first/code/abc.patch",
        "first/training/a/run.json",
        "first/training/a/claims/0001.json",
        "first/training/a/metrics.jsonl",
        "first/training/a/training.log",
    } <= set(names())
    assert states() == ["a/states/best.pt", "a/states/encoder.pt", "b/states/epoch_0001.pt"]


def test_all_takes_every_checkpoint(experiment, capsys):
    assert export([str(experiment), "--all", "--json", "--to", "all.zip"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert (answer["runs"], answer["checkpoints_left_out"]) == (2, 0)
    assert len(states(Path("all.zip"))) == 6


def test_nothing_private_hidden_or_of_the_cluster_is_in_it(experiment):
    kept = set(files(experiment))
    put(
        experiment,
        "grids/abc/secrets.json",
        "grids/abc/.grid_search.yaml.0123456789ab.tmp",
        "grids/abc/private/task.pkl",
        "training/a/private/task.pkl",
        "training/a/results/model.pkl",
        "training/a/.hydra/config.pickle",
        "training/a/.nfs0001",
        "training/a/.run.json.0123456789ab.tmp",
        "slurm/20261201T000000-abc/private/task.pkl",
        "slurm/20261201T000000-abc/submission.json",
        ".trash/c/run.json",
        ".after.json",
        "mlflow.db",
        "notes/of the user.txt",
        "training/no run/notes.txt",
    )

    assert export([str(experiment), "--all"]) == 0

    assert set(names()) == {f"first/{name}" for name in kept} | {
        "first/README.md", "first/results.csv"
    }  # fmt: skip


def files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def test_the_same_experiment_gives_the_same_bytes(experiment, tmp_path):
    assert export([str(experiment), "--to", "one.zip"]) == 0
    copy = tmp_path / "elsewhere" / "first"
    shutil.copytree(experiment, copy)
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700)

    assert export([str(copy), "--to", "two.zip"]) == 0

    assert Path("one.zip").read_bytes() == Path("two.zip").read_bytes()


def test_results_csv_is_that_of_now_and_the_experiment_stays_as_it_is(experiment):
    (experiment / "results.csv").write_text("old")
    before = {path: path.stat().st_mtime_ns for path in experiment.rglob("*")}

    assert export([str(experiment)]) == 0

    with zipfile.ZipFile("first.zip") as archive:
        assert len(archive.read("first/results.csv").splitlines()) == 3
    assert {path: path.stat().st_mtime_ns for path in experiment.rglob("*")} == before


def test_links_are_not_followed_out_of_the_experiment(experiment, tmp_path, capsys):
    put(tmp_path, "secret/key", "secret/folder/key")
    put(experiment, "grids/abc/secrets.json")
    run = experiment / "training" / "a"
    (run / "results").mkdir()
    for number, target in enumerate(
        [tmp_path / "secret/key", tmp_path / "secret/folder", tmp_path / "gone", run / "loop"]
    ):
        (run / "results" / f"link{number}").symlink_to(target)
    (run / "loop").symlink_to(run / "loop")
    (run / "results" / "to_secrets").symlink_to(experiment.resolve() / "grids/abc/secrets.json")
    (run / "results" / "inside").symlink_to("../metrics.jsonl")
    (run / "whole").symlink_to(tmp_path / "secret")
    (experiment / "report.html").symlink_to(tmp_path / "secret/key")
    (experiment / "plots").symlink_to(tmp_path / "secret")
    os.mkfifo(run / "results" / "pipe")
    scratch = tmp_path / "scratch"
    (experiment / "training" / "b").rename(scratch)
    (experiment / "training" / "b").symlink_to(scratch)

    assert export([str(experiment), "--json"]) == 1

    left_out = json.loads(capsys.readouterr().out)["left_out"]
    assert f"training/b (a link to {scratch}; --follow-links takes it)" in left_out
    assert "training/a/results/pipe (no file)" in left_out
    assert len(left_out) == 11
    with zipfile.ZipFile("first.zip") as archive:
        inside = archive.read("first/training/a/results/inside")
        assert inside == (run / "metrics.jsonl").read_bytes()
        assert not [name for name in archive.namelist() if b"key" in archive.read(name)]
        assert not [name for name in archive.namelist() if "secrets" in name or "/b/" in name]
        assert b"training/b" not in archive.read("first/results.csv")


def test_a_run_on_another_disk_is_taken_if_the_user_says_so(experiment, tmp_path):
    (experiment / "training").rename(tmp_path / "scratch")
    (experiment / "training").symlink_to(tmp_path / "scratch")

    assert export([str(experiment)]) == 1
    assert not [name for name in names() if "training/" in name]
    assert export([str(experiment), "--follow-links", "--force"]) == 0
    assert "first/training/b/run.json" in names()


def test_an_experiment_that_is_a_link_itself_is_an_ordinary_one(experiment, tmp_path):
    experiment.rename(tmp_path / "scratch")
    experiment.symlink_to(tmp_path / "scratch")

    assert export([str(experiment)]) == 0

    assert "first/training/b/run.json" in names()


def test_an_existing_file_is_kept_unless_it_is_to_be_replaced(experiment, capsys):
    Path("first.zip").write_text("mine")

    assert export([str(experiment)]) == 2
    assert "first.zip exists: name another file with --to, or give --force" in (
        capsys.readouterr().err
    )
    assert Path("first.zip").read_text() == "mine"

    assert export([str(experiment), "--force"]) == 0
    assert "first/results.csv" in names()


@pytest.mark.parametrize("to", ["no/such/folder/first.zip", "/proc/first.zip"])
def test_where_it_cannot_be_written_nothing_is_left(experiment, capsys, to):
    before = sorted(Path.cwd().iterdir())

    assert export([str(experiment), "--to", to]) == 2

    assert capsys.readouterr().err
    assert sorted(Path.cwd().iterdir()) == before


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_there(experiment, capsys):
    bad = os.fsencode(experiment / "training" / "a") + b"/caf\xe9.txt"
    with open(bad, "w") as file:  # noqa: PTH123
        file.write("x")

    assert export([str(experiment)]) == 1

    assert "(its name is not UTF-8)" in capsys.readouterr().out
    assert "first/training/b/run.json" in names()


def test_a_colleague_opens_it_elsewhere(experiment, tmp_path, monkeypatch, capsys):
    export([str(experiment)])
    shutil.rmtree("results")
    colleague = tmp_path / "colleague"
    with zipfile.ZipFile("first.zip") as archive:
        archive.extractall(colleague)
    monkeypatch.chdir(colleague)

    assert [run.run_name for run in find_runs(Path("first"))] == ["a", "b"]
    assert status(["first"]) == 0
    assert "2 completed" in capsys.readouterr().out


def test_what_is_no_experiment_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()

    assert export(["results"]) == 2

    assert "is no experiment" in capsys.readouterr().err
    assert not Path("results.zip").exists()
