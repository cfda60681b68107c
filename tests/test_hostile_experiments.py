"""The verbs over experiments in which one file is damaged: everything else is shown and stays."""

import io
import json
import os
import shutil
import tarfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from faults.plugin import FACTOR
from fuzzing import CONTENTS, YAML_CONTENTS, Damage, bounded, damaged, facts
from workspace import REPOSITORY

DATA = REPOSITORY / "tests" / "data"
EXPERIMENTS = {
    "single": {"small_0.003_1": "completed", "small_0.2_1": "completed", "small_0.5_1": "failed",
               "small_0.7_1": "lost"},
    "tiny": dict.fromkeys(
        ["large_0.01_1", "large_0.01_2", "small_0.01_1", "small_0.01_2", "small_0.1_1",
         "small_0.1_2"],
        "completed",
    ),
}  # fmt: skip
EXPERIMENTS["packed"] = EXPERIMENTS["tiny"]
# One of each kind; of a run, the one that the pattern finds first.
FILES = [
    *(f"single/training/small_0.2_1/{name}" for name in ("run.json", "claims/0001.json",
      "metrics.jsonl", "config.yaml", "environment.yaml", "tracking.jsonl", "timer.yaml",
      "training.log", "results/test.yaml", "model_summary.yaml", ".hydra/hydra.yaml",
      ".hydra/config.yaml", ".hydra/overrides.yaml")),
    "single/training/small_0.7_1/states/epoch_0002.pt", "single/.trash/removed.jsonl",
    "tiny/grid_search.yaml", "tiny/grids/*/grid_search.yaml", "tiny/grids/*/grid_search.jsonl",
    "tiny/grids/*/configs.jsonl", "tiny/grids/*/grid_search.index", "tiny/grids/*/configs.index",
    "tiny/.after.json", "tiny/plots/.drawn.json", "packed/slurm/*/submission.json",
    "packed/slurm/*/runs.jsonl", "packed/grids/*/grid_search.jsonl",
]  # fmt: skip
# By verb the exit codes of an answer; status and list end with 1, as a run has failed.
VERBS = {
    "list_experiments": (0, 1), "status": (0, 1), "best": (0,), "table": (0, 1), "cleanup": (0,),
}  # fmt: skip
PLACES = ["a folder", "a pipe", "a link to itself", "an endless device"]


@pytest.fixture
def results(tmp_path):
    """What version 0.1.0 left behind, in the project that made it."""
    pytest.importorskip("torch")
    shutil.copytree(DATA / "tiny", tmp_path, dirs_exist_ok=True)
    with tarfile.open(DATA / "results-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path / "results", filter="data")
    return tmp_path / "results"


def run(verb, arguments, project):
    """The exit code of a verb, and what it printed."""
    output = io.StringIO()
    with chdir(project), redirect_stdout(output), redirect_stderr(output), bounded():
        try:
            code = verb(arguments)
        except SystemExit as error:
            code = error.code
    return code, output.getvalue()


def problem_of(results, path):
    """What a user would complain about with this file as it is now; None if nothing."""
    from expkit_bookkeeping import find_runs
    from expkit_bookkeeping import results as results_of
    from expkit_hydra import commands
    from expkit_hydra.commands import show, status

    name = path.relative_to(results).parts[0]
    hit = path.relative_to(results / name).parts
    hit = hit[1] if hit[0] == "training" else None
    expected = {run: state for run, state in EXPERIMENTS[name].items() if run != hit}
    folder = f"results/{name}"
    before = facts(results)
    code, output = run(status, [folder, "--json"], results.parent)
    if code not in (0, 1):
        return f"status: {code}: {output}"
    rows = {
        row["run_name"]: row["state"] for row in json.loads(output[output.index("{") :])["runs"]
    }
    if not expected.items() <= rows.items():
        return f"status: {rows}"
    for verb, codes in VERBS.items():
        code, output = run(getattr(commands, verb), [folder], results.parent)
        if code not in codes or "Traceback" in output:
            return f"{verb}: {code}: {output}"
    for shown in (hit, next(iter(expected))):
        if shown is not None and (results / name / "training" / shown).exists():
            code, output = run(show, [folder, shown], results.parent)
            if code not in (0, 2) or "Traceback" in output or (code and shown != hit):
                return f"show {shown}: {code}: {output}"
    if not expected.keys() <= {record.run_name for record in find_runs(results / name)}:
        return "find_runs"
    if not expected.keys() <= set(results_of(results / name)["run_name"]):
        return "results()"
    return None if facts(results) == before else "something was written or removed"


@pytest.mark.faults("a damaged or hostile file spoils itself alone")
def test_no_damaged_file_hides_a_run_or_ends_a_verb(results, campaign):
    problems = []
    for pattern in FILES:
        path = min(results.glob(pattern))
        contents = {**CONTENTS, **(YAML_CONTENTS if path.suffix == ".yaml" else {})}
        damages = [*(Damage(name, raw) for name, raw in contents.items()), *map(Damage, PLACES)]
        for damage in campaign.random.sample(damages, min(len(damages), 2 * FACTOR)):
            campaign.tried += 1
            with damaged(path, damage):
                try:
                    problem = problem_of(results, path)
                except Exception as error:
                    import traceback

                    problem = "".join(traceback.format_exception(error)[-3:])
            if problem:
                problems.append(f"{pattern} is {damage.name}: {problem}")
    assert not problems, "\n\n".join(problems)


@pytest.mark.faults("a damaged or hostile file spoils itself alone")
@pytest.mark.parametrize(
    "name",
    ["training/small_0.2_1/tracking.jsonl", "training/small_0.2_1/run.json",
     "training/small_0.2_1/metrics.jsonl", ".trash/removed.jsonl"],
)  # fmt: skip
def test_sync_sends_all_other_runs_whatever_has_become_of_one_file(results, name, campaign):
    import expkit_mlflow

    path = results / "single" / name
    damages = [*(Damage(name, raw) for name, raw in CONTENTS.items()), *map(Damage, PLACES)]
    before = facts(results / "tiny") | facts(results / "packed")
    for damage in campaign.random.sample(damages, min(len(damages), 3 * FACTOR)):
        print(damage)
        campaign.tried += 1
        with damaged(path, damage), bounded():
            report = expkit_mlflow.sync(results / "single")
        assert report.runs in (3, 4)
        assert all("small_0.2_1" in problem for problem in report.problems)
    assert facts(results / "tiny") | facts(results / "packed") == before
    assert expkit_mlflow.sync(results / "single").runs == 4


@pytest.mark.faults("a damaged or hostile file spoils itself alone")
@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "timer.yaml"])
def test_all_other_runs_are_drawn_whatever_has_become_of_one_file(results, name, campaign):
    from expkit_plotting.commands import plot

    path = results / "single" / "training" / "small_0.2_1" / name
    damages = [*(Damage(name, raw) for name, raw in CONTENTS.items()), *map(Damage, PLACES)]
    for damage in campaign.random.sample(damages, min(len(damages), FACTOR)):
        print(damage)
        campaign.tried += 1
        shutil.rmtree(results / "single" / "plots", ignore_errors=True)
        with damaged(path, damage):
            code, output = run(plot, ["results/single"], results.parent)
        assert code == 0, output
        assert "Traceback" not in output
        assert (results / "single" / "plots" / "loss.png").is_file()


def test_a_run_is_shown_beside_a_damaged_grid(results):
    from expkit_hydra.commands import show

    (results / "tiny" / "grid_search.yaml").write_text("a: !!bool x\n")

    code, output = run(show, ["results/tiny", "large_0.01_1"], results.parent)

    assert code == 0
    assert "lr: 0.01" in output


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"run_name": "small_0.01_1"', '"run_name": "../../../elsewhere"', "names one folder"),
        ('"run_name": "small_0.01_1"', '"run_name": null', "run_name is None"),
        ('"overrides": [', '"overrides": "x", "was": [', "overrides is 'x'"),
        ('"values": {', '"values": [], "was": {', r"values is \[\]"),
        ('"index": 0', '"index": true', "index is True"),
    ],
)
def test_a_damaged_line_of_a_grid_is_refused_by_the_name_of_its_file(results, old, new, reason):
    from expkit_hydra import Grid

    (path,) = results.glob("tiny/grids/*/grid_search.jsonl")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

    with pytest.raises(ValueError, match=reason) as raised:
        Grid.load(results / "tiny")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("name", ["grid_search", "configs"])
@pytest.mark.parametrize("start", [b"\xfe" * 8, b"\0" * 8])
def test_an_index_leads_to_no_other_run(results, name, start):
    from expkit_hydra.launching import open_grid

    (path,) = results.glob(f"tiny/grids/*/{name}.index")
    content = path.read_bytes()
    last = len(content) // 8 - 1
    path.write_bytes(content[:-8] + start)
    grid = open_grid(results / "tiny")

    with pytest.raises(ValueError, match="is damaged"):
        grid.runs[last] if name == "grid_search" else grid.config(last)


@pytest.mark.parametrize("grid_id", ["../../single", "..", "''", "null", "[1]"])
def test_the_latest_grid_is_a_folder_of_grids(results, grid_id):
    from expkit_hydra import Grid

    (results / "tiny" / "grid_search.yaml").write_text(f"grid_id: {grid_id}\n")

    with pytest.raises((ValueError, FileNotFoundError), match="grid_search"):
        Grid.load(results / "tiny")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("runs.jsonl", '"run": ', '"run": -1'),
        ("runs.jsonl", '"run": ', '"run": 9'),
        ("runs.jsonl", '"run": ', '"ran": '),
        ("runs.jsonl", "{", '{"known": [[1]], '),
        ("submission.json", '"first": 0', '"first": 5'),
        ("submission.json", '"first": 0', '"first": "0"'),
        ("submission.json", '"runs_per_task": ', '"runs_per_task": 0, "was": '),
        ("submission.json", '"runs_per_task": 3', '"runs_per_task": 0'),
        ("submission.json", '"grid_id": "', '"grid_id": "../../'),
    ],
)
def test_a_damaged_submission_is_refused_by_the_name_of_its_file(results, name, old, new):
    from expkit_slurm._submissions.placements import all_placements
    from expkit_slurm._submissions.record import find_submissions

    (path,) = results.glob(f"packed/slurm/*/{name}")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

    with pytest.raises(ValueError, match=name):
        list(all_placements(find_submissions(results / "packed")))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_journal_that_is_no_file_holds_no_other_back(results, make, caplog):
    import expkit_mlflow

    (results / "single" / "training" / "small_0.2_1" / "tracking.jsonl").unlink()
    make(results / "single" / "training" / "small_0.2_1" / "tracking.jsonl")

    with bounded():
        report = expkit_mlflow.sync(results / "single")

    assert (report.runs, report.problems) == (3, [])
    assert "small_0.2_1/tracking.jsonl is a folder, a pipe or a device" in caplog.text
