"""Which folders a single run, a foreign launcher and a grid take, and which they leave alone."""

import json
import os
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping.launching import claim_run
from expkit_hydra import GridError, cleanup
from expkit_hydra.commands import cleanup as cleanup_command

SOURCE = {"train.py": "print(1)", "config.yaml": "mine: true"}
# By what it is about: the files that are there before, and hydra.run.dir. `work/` is where the
# program is started, `project/` is the script's folder.
REFUSED = {
    "the working directory": ({}, "."),
    "it, by Hydra's name": ({}, "${hydra.runtime.cwd}"),
    "it, through a link": ({"link": "work"}, "../link"),
    "its parent": ({}, ".."),
    "the script's folder": ({}, "../project/src"),
    "the script's parent": ({}, "../project"),
    "the script's folder through a link": ({"link": "project/src"}, "../link"),
    "home": ({}, "${oc.env:HOME}"),
    "the folder above home": ({}, "../homes"),
    "the root": ({}, "/"),
    "a git root": ({"other/.git/HEAD": ""}, "../other"),
    "a results_dir that is not there yet": ({}, "${results_dir}"),
    "an experiment that is not there yet": ({}, "${results_dir}/${experiment_id}"),
    "the folder of its runs": ({}, "${results_dir}/${experiment_id}/training"),
    "another experiment": ({"work/results/e/training/a/.hydra/x": ""}, "results/e"),
    "sources": ({"data/train.py": "", "data/config.yaml": "mine: true"}, "../data"),
    "a configuration": ({"data/config.yaml": "mine: true"}, "../data"),
    "another tool's run.json": ({"data/run.json": '{"schema": "x", "id": "y"}'}, "../data"),
    "logs of a server": ({"data/server.log": "", "data/web.log": ""}, "../data"),
    "a folder of folders": ({"data/a/b/c.txt": ""}, "../data"),
    "data through a link": ({"data/a.txt": "", "work/out": "data"}, "out"),
    "a file": ({"data": "mine"}, "../data"),
}


@pytest.fixture
def layout(app, tmp_path, monkeypatch):
    """The app is started in work/, its script lies in project/src, home is in homes/."""
    for folder in ("work", "project/src", "homes/ada"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "homes" / "ada"))
    script = str(tmp_path / "project" / "src" / "train.py")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", script, raising=False)
    return app


@pytest.fixture
def experiment(tmp_path):
    return tmp_path / "work" / "results" / "digits"


def write(base: Path, files: dict[str, str]) -> None:
    """Write files; a name without a dot or a slash before its end is a link to its text."""
    for name, text in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if (base / text).is_dir() and text:
            path.symlink_to(base / text)
        else:
            path.write_text(text)


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


def unchanged(folder: Path, before: dict[str, object]) -> bool:
    after = snapshot(folder)
    return {name: after.get(name) for name in before} == before


@pytest.mark.parametrize(("files", "folder"), REFUSED.values(), ids=REFUSED)
def test_a_folder_that_is_not_a_runs_is_refused_and_left_as_it_is(layout, tmp_path, files, folder):
    write(tmp_path, files)
    overrides = ["model=cnn", "optimizer.lr=0.1", f"hydra.run.dir='{folder}'"]
    before = snapshot(tmp_path)

    for _ in range(2):  # a second one would move what a first one took
        with pytest.raises(SystemExit) as refused:
            layout.run(*overrides)
        if files.get("data") is None:  # of a file the system says what is wrong
            assert f"Delete hydra.run.dir={folder} from" in str(refused.value)

    assert snapshot(tmp_path) == before
    assert layout.seen == []


OWN_FOLDERS = {
    "Hydra's default": ("outputs/${now:%Y-%m-%d}", "multirun/${now:%Y}", "${hydra.job.num}"),
    "the working directory": (".", ".", "${hydra.job.override_dirname}"),
    "absolute": ("${oc.env:HOME}", "${oc.env:HOME}/runs", "/${hydra.job.id}"),
    "below the project": ("../data", "${hydra.runtime.cwd}/../data", "${hydra.runtime.num}"),
}


@pytest.mark.parametrize("launcher", ["expkit", "basic"])
@pytest.mark.parametrize(("run", "sweep", "subdir"), OWN_FOLDERS.values(), ids=OWN_FOLDERS)
def test_the_folders_of_the_projects_own_files_are_left_alone(
    layout, tmp_path, experiment, capfd, run, sweep, subdir, launcher
):
    write(tmp_path, {"data/train.py": "print(1)"})
    folders = {"run": {"dir": run}, "sweep": {"dir": sweep, "subdir": subdir}}
    layout.edit("hydra:\n", f"hydra:\n  {json.dumps(folders)[1:-1]}\n".replace("}, ", "}\n  "))
    layout.add('number: "${hydra:job.num}"\noutput: "${hydra:runtime.output_dir}"\n')
    layout.task = lambda config: OmegaConf.to_container(config, resolve=True)
    before = snapshot(tmp_path)
    overrides = ["model=cnn", "optimizer.lr=0.1", "_filters=[]", f"hydra/launcher={launcher}"]

    alone = layout.run("seed=3", "optimizer=sgd", *overrides[:2])
    said = capfd.readouterr().err
    ((first, second),) = layout.sweep(*overrides)
    layout.sweep(*overrides)

    names = ["cnn_sgd_0.1_3", "cnn_sgd_0.1_1", "cnn_sgd_0.1_2"]
    for name, result in zip(names, [alone, first, second], strict=True):
        assert result.return_value["output"] == str(experiment / "training" / name)
        assert Path(result.hydra_cfg.hydra.runtime.output_dir) == experiment / "training" / name
    assert [first.return_value["number"], second.return_value["number"]] == [0, 1]
    assert f"This project's own hydra.run.dir ({run}) is not used." in said
    assert f"hydra.sweep.dir ({sweep}) and hydra.sweep.subdir ({subdir}) are not used" in str(
        layout.log
    )
    assert layout.names() == names
    assert unchanged(tmp_path, before)
    left = {path.name for path in (tmp_path / "work").iterdir()}
    assert left <= {"results", "config.yaml", "conf"}


@pytest.mark.parametrize("version_base", ["1.1", "1.3"])
def test_a_project_that_runs_in_the_working_directory_stays_there(layout, version_base):
    from hydra import version

    version.setbase(version_base)
    layout.edit("hydra:\n", "hydra:\n  run: {dir: .}\n")
    layout.task = lambda config: str(Path.cwd())

    assert layout.run("model=cnn").return_value == str(Path.cwd())


def test_a_run_that_the_command_line_places_elsewhere_says_how_grids_find_it(layout, capfd):
    layout.run("model=cnn", "hydra.run.dir=out")

    said = " ".join(capfd.readouterr().err.split())
    assert "The run is in out, as hydra.run.dir on the command line says." in said
    assert "expkit status look in results/digits/training, where it goes without that" in said


@pytest.mark.parametrize("mode", ["single run", "grid"])
def test_files_that_are_written_before_a_run_starts_are_named(layout, tmp_path, experiment, mode):
    write(experiment / "training" / "cnn_sgd_0.1_1", {"settings.json": "{}"})
    before = snapshot(tmp_path)

    if mode == "single run":
        with pytest.raises(SystemExit) as refused:
            layout.run("model=cnn", "optimizer.lr=0.1", "optimizer=sgd")
        text = str(refused.value)
    else:
        with pytest.raises(GridError, match=r"settings\.json") as failed:
            layout.sweep("model=cnn", "optimizer.lr=0.1", "seed=1")
        text = str(failed.value)
        assert len(layout.seen) == 0

    assert "settings.json" in text
    assert "delete it" in text
    assert unchanged(tmp_path, before)
    assert not (experiment / "training/cnn_sgd_0.1_1/run.json").exists()


@pytest.mark.parametrize("name", ["results.csv", "grid_search.yaml"])
def test_a_grid_writes_over_no_file_of_others_in_its_experiments_folder(layout, tmp_path, name):
    write(tmp_path / "work", {f"results/digits/{name}": "year,result"})
    before = snapshot(tmp_path)

    with pytest.raises(GridError, match=f"it holds a {name} that expkit did not write"):
        layout.sweep()

    assert snapshot(tmp_path) == before
    assert layout.seen == []


FREE = {
    "new": {},
    "a plain app's": {".hydra/hydra.yaml": "hydra: {job: {name: x}}"},
    "with a log of Hydra's": {".hydra/config.yaml": "", "train.log": ""},
    "an empty repository's": {".gitkeep": ""},
    "a file server's": {".nfs00000000000000a1": ""},
    "a logger's": {"tracking.jsonl": '{"kind": "run", "schema": 1, "id": "5f0c"}\n'},
}


@pytest.mark.parametrize("files", FREE.values(), ids=FREE)
@pytest.mark.parametrize("folder", ["${results_dir}/${experiment_id}/training/${run_name}", "out"])
def test_a_free_folder_is_taken_without_a_word(layout, tmp_path, capfd, files, folder):
    target = folder.replace("${results_dir}/${experiment_id}", "results/digits")
    target = target.replace("${run_name}", "cnn_adam_0.1_1")
    write(tmp_path / "work" / target, files)

    layout.run("model=cnn", "optimizer.lr=0.1", f"hydra.run.dir='{folder}'")

    assert json.loads((tmp_path / "work" / target / "run.json").read_text())["attempt"] == 1
    said = [line for line in capfd.readouterr().err.splitlines() if "command line says" not in line]
    assert said[0].startswith("Run cnn_adam_0.1_1 is completed")
    layout.run("model=cnn", "optimizer.lr=0.1", f"hydra.run.dir='{folder}'")
    assert "was completed; it moved to" in capfd.readouterr().err


def test_a_run_killed_before_its_run_json_starts_again(layout, tmp_path, experiment, capfd):
    write(
        experiment / "training" / "cnn_adam_0.1_1",
        {
            "claims/0001.json": json.dumps(
                {"schema": 1, "attempt": 1, "claimed_at": "2026-11-23T08:00:00+00:00"}
            )
        },
    )
    os.utime(experiment / "training/cnn_adam_0.1_1/claims/0001.json", (0, 0))

    layout.run("model=cnn", "optimizer.lr=0.1")

    record = json.loads((experiment / "training/cnn_adam_0.1_1/run.json").read_text())
    assert record["state"] == "completed"


@pytest.mark.parametrize("link", ["results", "results/digits", "results/digits/training", "run"])
def test_links_at_every_level_are_ordinary(layout, tmp_path, experiment, link):
    run = experiment / "training" / "cnn_adam_0.1_1"
    path = run if link == "run" else tmp_path / "work" / link
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "scratch" / "disk").mkdir(parents=True)
    path.symlink_to(tmp_path / "scratch" / "disk")
    (tmp_path / "scratch" / "theirs.txt").write_text("mine")

    for _ in range(2):
        layout.run("model=cnn", "optimizer.lr=0.1")

    assert json.loads((run / "run.json").read_text())["attempt"] == 1
    assert (tmp_path / "scratch" / "theirs.txt").read_text() == "mine"
    (moved,) = [path for path in (experiment / ".trash").iterdir() if path.name != "removed.jsonl"]
    assert moved.is_symlink() == (link == "run")
    assert (moved / "run.json").exists()
    assert path.is_symlink() or link == "run"


def test_a_home_that_is_a_link_may_hold_the_program(layout, tmp_path, monkeypatch):
    (tmp_path / "homes" / "link").symlink_to(tmp_path / "homes" / "ada")
    monkeypatch.setenv("HOME", str(tmp_path / "homes" / "link"))
    (tmp_path / "homes" / "ada" / "work").mkdir()
    monkeypatch.chdir(tmp_path / "homes" / "link" / "work")

    for _ in range(2):
        layout.run("model=cnn", "optimizer.lr=0.1")
    with pytest.raises(SystemExit, match="is or contains"):
        layout.run("model=cnn", "optimizer.lr=0.1", "hydra.run.dir=../../ada")

    assert len(layout.seen) == 2


@pytest.mark.parametrize("mode", ["single run", "grid", "basic launcher"])
def test_a_job_that_hydra_moves_into_its_folder_runs_there(layout, tmp_path, experiment, mode):
    def task(config):
        assert Path.cwd().parent.parent == experiment
        with Bookkeeping.from_config(config, console=False) as bookkeeping:
            bookkeeping.log_metrics({"loss": 1.0}, 0)
        with Bookkeeping(".", console=False) as bookkeeping:
            assert bookkeeping.folder == Path.cwd()

    layout.task = task
    overrides = ["model=cnn", "optimizer.lr=0.1", "hydra.job.chdir=true"]
    for _ in range(2):
        if mode == "single run":
            layout.run(*overrides)
        else:
            launcher = ["hydra/launcher=basic"] if mode == "basic launcher" else []
            layout.sweep(*overrides, "seed=1", "optimizer=sgd", "expkit.rerun=all", *launcher)

    name = "cnn_adam_0.1_1" if mode == "single run" else "cnn_sgd_0.1_1"
    record = json.loads((experiment / "training" / name / "run.json").read_text())
    assert record["state"] == "completed"
    assert [path.name for path in (experiment / "training").iterdir()] == [name]


def test_under_chdir_the_folder_where_hydra_was_started_stays_protected(layout, tmp_path):
    def task(config):
        write(tmp_path / "work", {"theirs.txt": "mine"})
        with pytest.raises(PermissionError, match="where this program was started"):
            Bookkeeping(tmp_path / "work").open()

    layout.task = task
    layout.run("model=cnn", "optimizer.lr=0.1", "hydra.job.chdir=true")

    assert {path.name for path in (tmp_path / "work").iterdir()} == {"results", "theirs.txt"}


# Foreign launchers and sweepers, which Hydra lets write before any callback is asked


@pytest.mark.parametrize("subdir", [".", "..", "../project/src", "../data"])
def test_a_foreign_launcher_makes_no_run_of_somebody_elses_folder(layout, tmp_path, subdir):
    for folder in ("work", "project", "project/src", "data"):
        write(tmp_path / folder, SOURCE)
    before = snapshot(tmp_path)

    layout.sweep(
        "hydra/sweeper=basic",
        "hydra/launcher=basic",
        "hydra.sweep.dir=.",
        f"hydra.sweep.subdir='{subdir}'",
        "run_name=a",
    )

    assert unchanged(tmp_path, before)
    assert len(layout.seen) == 1
    assert any(f"Delete hydra.sweep.dir=. and hydra.sweep.subdir={subdir}" in x for x in layout.log)
    assert not list(tmp_path.rglob("claims")) + list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("extra", [[], ["hydra.output_subdir=null"], ["hydra.output_subdir=.own"]])
def test_a_foreign_launcher_records_its_runs_without_a_word(layout, tmp_path, extra, capfd):
    layout.sweep(
        "hydra/sweeper=basic",
        "hydra/launcher=basic",
        "hydra.sweep.dir=multirun",
        "hydra.sweep.subdir='${hydra.job.num}'",
        "run_name=a",
        "seed=1,2",
        *extra,
    )

    states = [json.loads((path).read_text())["state"] for path in tmp_path.rglob("run.json")]
    assert states == ["completed", "completed"]
    assert [line for line in layout.log if "nothing is recorded" in line] == []


# Cleanup


def test_cleanup_says_which_runs_stay_and_why(tmp_path, capsys):
    experiment = tmp_path / "digits"
    theirs = experiment / "training" / "b" / "notes.txt"
    for name in ("a", "b"):
        if name == "b":
            write(theirs.parent, {"notes.txt": "mine"})
        Bookkeeping(experiment / "training" / name, console=False).open().close("failed")

    assert cleanup_command([str(experiment)]) == 1
    assert "1 to remove" in capsys.readouterr().out
    assert cleanup_command([str(experiment), "--yes", "--purge"]) == 1
    output = " ".join(capsys.readouterr().out.split())

    assert "1 of 2 moved to" in output
    assert "held other files when it" in output
    assert theirs.read_text() == "mine"
    assert not (experiment / "training" / "a").exists()


def test_purge_leaves_what_expkit_did_not_make_and_what_lies_behind_links(tmp_path, capsys):
    experiment = tmp_path / "digits"
    scratch = tmp_path / "scratch"
    write(scratch, {"data/a.txt": "mine"})
    for name in ("run", "linked", "repository", "replaced"):
        folder = experiment / "training" / name
        if name == "linked":
            (scratch / "linked").mkdir()
            folder.symlink_to(scratch / "linked")
        claim_run(folder).finish("failed")
    write(experiment / "training" / "run", {"inner/file": ""})
    (experiment / "training" / "run" / "inner" / "link").symlink_to(scratch)
    cleanup(experiment, dry_run=False)
    by_name = {path.name.partition(".")[0]: path for path in (experiment / ".trash").iterdir()}
    write(by_name["repository"], {".git/HEAD": ""})
    for path in sorted(by_name["replaced"].rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    write(by_name["replaced"], {"thesis.tex": "mine"})

    assert cleanup_command([str(experiment), "--yes", "--purge"]) == 0

    left = {path.name.partition(".")[0] for path in (experiment / ".trash").iterdir()}
    assert left == {"linked", "removed", "replaced", "repository"}
    assert (by_name["replaced"] / "thesis.tex").exists()
    assert (scratch / "data" / "a.txt").exists()
    assert (scratch / "linked" / "run.json").exists()
    output = capsys.readouterr().out
    for reason in ("is a link", "is the root of a git repository", "expkit did not write"):
        assert reason in output


# A further attempt of a script that does not resume (Lightning's loggers and checkpoints)


def test_files_of_an_earlier_attempt_are_named_and_stay(layout, tmp_path, experiment, capfd):
    run = experiment / "training" / "cnn_adam_0.1_1"

    def fails(config):
        write(run, {"last.ckpt": "1", "csv/version_0/metrics.csv": "1"})
        raise ValueError("lost power")

    layout.task = fails
    with pytest.raises(ValueError, match="lost power"):
        layout.run("model=cnn", "optimizer.lr=0.1")
    layout.task = lambda config: (run / "last.ckpt").read_text()  # it may resume from its own

    layout.run("model=cnn", "optimizer.lr=0.1")

    said = capfd.readouterr().err
    assert "Run cnn_adam_0.1_1 is tried again (failed, attempt 2)" in said
    assert "files of the earlier attempt (csv, last.ckpt)" in said
    assert "expkit.fresh=true keeps the two apart" in said
    assert (run / "csv" / "version_0" / "metrics.csv").read_text() == "1"
