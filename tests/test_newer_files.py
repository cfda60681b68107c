"""Each file that a newer version wrote is refused by name, stays as it is, and spoils no other."""

import json
import shutil
import tarfile

import pytest
from workspace import REPOSITORY, Workspace

DATA = REPOSITORY / "tests" / "data"
RUN = "single/training/small_0.5_1"
LOST_RUN = "single/training/small_0.7_1"
GRID = "tiny/grids/2f04a768838f"


@pytest.fixture
def results(tmp_path):
    """A results folder of a grid, single runs and a submission."""
    pytest.importorskip("torch")
    with tarfile.open(DATA / "results-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path / "results", filter="data")
    return tmp_path / "results"


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def make_newer(path):
    """Write schema 2 into a file, as a newer version would."""
    if path.suffix == ".pt":
        import torch

        torch.save({**torch.load(path), "schema": 2}, path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    elif path.suffix == ".jsonl":  # the last line, as others begin where an index says
        start, separator, end = path.read_text().rpartition("}")
        path.write_text(f'{start}, "schema": 2{separator}{end}')
    else:
        text = path.read_text().removeprefix("schema: 1\n")
        path.write_text(f"schema: 2\n{text}")


def read_record(results):
    from expkit_bookkeeping import find_runs

    reasons = {record.run_name: record.reason for record in find_runs(results / "single")}
    assert [reason for reason in reasons.values() if reason is None] == [None] * 3
    raise ValueError(reasons["small_0.5_1"])


def claim(results):
    from expkit_bookkeeping.launching import claim_run

    claim_run(results / RUN)


def trash(results):
    from expkit_bookkeeping.launching import move_to_trash

    move_to_trash(results / RUN, reason="cleanup")


def resume(results):
    from expkit_bookkeeping import Bookkeeping

    with Bookkeeping(results / LOST_RUN, console=False) as run:
        run.resume()


def load_grid(path):
    def load(results):
        from expkit_hydra import Grid

        return Grid.load(results / path)

    return load


def read_frozen(results):
    grid = load_grid(GRID)(results)
    grid.config(max(run.index for run in grid.runs if run.skipped_by is None))


def read_submissions(results):
    from expkit_slurm._submissions.record import find_submissions

    find_submissions(results / "packed")


def read_submitted_runs(results):
    from expkit_slurm._submissions.record import find_submissions, read_runs

    (submission,) = find_submissions(results / "packed")
    read_runs(submission.path)


def load_timer(results):
    from expkit_timer import Timers

    Timers.load(results / RUN / "timer.yaml")


def save_timer(results):
    from expkit_timer import Timer

    with Timer("epoch") as timer:
        pass
    timer.save(results / RUN / "timer.yaml")


def sync(results):
    import expkit_mlflow

    report = expkit_mlflow.sync(results / "single")
    assert report.runs == 3
    raise ValueError("; ".join(report.problems))


def append_to_journal(results):
    from expkit_mlflow._journal.writing import Journal

    Journal(results / RUN / "tracking.jsonl")


FILES = [
    ("run.json", f"{RUN}/run.json", read_record, "expkit-bookkeeping"),
    ("run.json, claimed", f"{RUN}/run.json", claim, "expkit-bookkeeping"),
    ("run.json, moved", f"{RUN}/run.json", trash, "expkit-bookkeeping"),
    ("checkpoint", f"{LOST_RUN}/states/epoch_0002.pt", resume, "expkit-bookkeeping"),
    ("grid_search.yaml", f"{GRID}/grid_search.yaml", load_grid(GRID), "expkit-hydra"),
    ("the latest grid's", "tiny/grid_search.yaml", load_grid("tiny"), "expkit-hydra"),
    ("grid_search.jsonl", f"{GRID}/grid_search.jsonl", load_grid(GRID), "expkit-hydra"),
    ("configs.jsonl", f"{GRID}/configs.jsonl", read_frozen, "expkit-hydra"),
    ("submission.json", "packed/slurm/*/submission.json", read_submissions, "expkit-slurm"),
    ("runs.jsonl", "packed/slurm/*/runs.jsonl", read_submitted_runs, "expkit-slurm"),
    ("timer.yaml", f"{RUN}/timer.yaml", load_timer, "expkit-timer"),
    ("timer.yaml, saved", f"{RUN}/timer.yaml", save_timer, "expkit-timer"),
    ("tracking.jsonl", f"{RUN}/tracking.jsonl", sync, "expkit-mlflow"),
    ("tracking.jsonl, appended", f"{RUN}/tracking.jsonl", append_to_journal, "expkit-mlflow"),
]


@pytest.mark.parametrize(
    ("pattern", "read", "package"), [case[1:] for case in FILES], ids=[case[0] for case in FILES]
)
def test_a_file_of_a_newer_version_is_refused_by_name_and_stays(results, pattern, read, package):
    path = only(results, pattern)
    if path.name == "tracking.jsonl":  # its `run` entries say it
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        entries = [{**line, "schema": 2} if line["kind"] == "run" else line for line in lines]
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    else:
        make_newer(path)
    before = path.read_bytes()

    with pytest.raises((ValueError, RuntimeError)) as raised:
        read(results)

    assert (
        f"was written by a newer version of {package} (schema 2; this one reads 1): upgrade it, "
        f"pip install -U {package}"
    ) in str(raised.value)
    assert path.name in str(raised.value)
    assert path.read_bytes() == before


def test_a_table_of_a_newer_version_is_refused_by_name(tmp_path):
    pandas = pytest.importorskip("pandas")
    from expkit_bookkeeping import Bookkeeping

    with Bookkeeping(tmp_path / "run", console=False) as run:
        path = run.save_results(pandas.DataFrame({"score": [0.5]}), "scores")
        make_newer(path.with_name(f"{path.name}.schema.json"))
        with pytest.raises(
            ValueError, match=r"^\S*scores\.csv\.schema\.json was written by a newer version"
        ):
            run.load_results("scores")


def test_an_encoder_of_a_newer_version_is_refused_by_name(tmp_path):
    from expkit_bookkeeping import Bookkeeping

    class Labels:
        names = ("cat", "dog")

        def to_dict(self):
            return {"names": list(self.names)}

        def from_dict(self, state):
            self.names = tuple(state["names"])

    with Bookkeeping(tmp_path / "run", console=False) as run:
        path = run.save_encoder(Labels(), "labels")
        make_newer(path)
        with pytest.raises(ValueError, match=r"labels\.json was written by a newer version"):
            run.load_encoder(Labels(), "labels")


def test_what_a_newer_version_did_after_a_grid_is_not_written_over(results):
    from expkit_hydra._after.succeeded_verbs import have_succeeded, record_success

    path = results / "tiny" / ".after.json"
    make_newer(path)
    before = path.read_bytes()

    assert not have_succeeded(results / "tiny", [], ["sync"])
    record_success(results / "tiny", [], ["sync"])

    assert path.read_bytes() == before


def test_what_a_newer_version_moved_to_the_trash_is_not_deleted_for_good(results):
    from expkit_hydra import cleanup

    trash = results / "single" / ".trash"
    make_newer(trash / "removed.jsonl")
    (folder,) = (path for path in trash.iterdir() if path.is_dir())

    cleanup(results / "single", dry_run=False, purge=True)

    assert (folder / "run.json").is_file()


@pytest.mark.parametrize(
    ("experiment", "pattern", "states"),
    [
        ("tiny", "training/small_0.1_1/run.json", {"completed": 5, "unknown": 1}),
        ("tiny", "grid_search.yaml", {"completed": 6}),
        ("tiny", "grids/*/grid_search.jsonl", {"completed": 6}),
        ("packed", "slurm/*/submission.json", {"completed": 6}),
        ("single", "training/*_0.2_1/claims/0002.json", {"completed": 2, "failed": 1, "lost": 1}),
    ],
)
def test_status_shows_everything_else(results, experiment, pattern, states):
    make_newer(only(results / experiment, pattern))
    shutil.copytree(DATA / "tiny", results.parent, dirs_exist_ok=True)
    workspace = Workspace(results.parent)

    shown = workspace.run("expkit", "status", f"results/{experiment}", "--json", code=None)

    rows = json.loads(shown.stdout)["runs"]
    counts = {state: [row["state"] for row in rows].count(state) for state in states}
    assert counts == states
    if "unknown" in states:
        (row,) = (row for row in rows if row["state"] == "unknown")
        assert "newer version of expkit-bookkeeping" in row["error"]


def test_every_command_goes_on_beside_a_hostile_run_json(results):
    shutil.copytree(DATA / "tiny", results.parent, dirs_exist_ok=True)
    (results / RUN / "run.json").write_text("[" * 100_000)
    (results / RUN / "tracking.jsonl").write_text("[" * 100_000 + "\n")
    workspace = Workspace(results.parent)

    for verb in (["status"], ["plot"], ["cleanup"], ["sync"]):
        done = workspace.run("expkit", *verb, "results/single", code=int(verb == ["status"]))
        assert "Traceback" not in done.stdout + done.stderr
