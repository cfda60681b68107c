"""Whatever has become of one file: it is refused by name or passed over, and spoils no other.

A failure prints what was in the file's place.
"""

import contextlib
import shutil
import tarfile
import traceback

import pytest
from fuzzing import Reader, all_contents, check, damages
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from workspace import REPOSITORY

from expkit_plotting import PlottingError

DATA = REPOSITORY / "tests" / "data"
RUN = "single/training/small_0.2_1"
LOST_RUN = "single/training/small_0.7_1"
GRID = "tiny/grids/2f04a768838f"
NEW_RUN = "new/training/run"


class Labels:
    names = ("cat", "dog")

    def to_dict(self):
        return {"names": list(self.names), "counts": {1: (2, 3.0)}}

    def from_dict(self, state):
        self.names = state  # whatever it is: what a class does with it is its own


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What version 0.1.0 wrote and what this one writes, without what takes long to copy."""
    pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("results")
    with tarfile.open(DATA / "results-0.1.0.tar.xz") as archive:
        archive.extractall(root, filter="data")
    for experiment in ("tiny", "packed", "single"):
        shutil.rmtree(root / experiment / "artifacts", ignore_errors=True)
    (root / "packed" / ".mlflow.lock").unlink(missing_ok=True)
    write_new_run(root / NEW_RUN)
    return root


def write_new_run(folder):
    import numpy
    import pandas
    from sklearn.preprocessing import LabelEncoder

    from expkit_bookkeeping import Bookkeeping
    from expkit_plotting import PlotMetrics

    table = pandas.DataFrame(
        {"score": [0.5, float("nan")], "day": pandas.to_datetime(["2026-01-01", None])},
        index=pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["name", "fold"]),
    ).astype({"score": "Float64"})
    table["kind"] = pandas.Categorical(["x", "y"])
    with Bookkeeping(
        folder, config={"lr": 0.1, "expkit": {"metric": "loss"}}, console=False
    ) as run:
        for epoch in range(3):
            run.log_metrics({"loss": 1 / (epoch + 1), "accuracy": float("nan")}, step=epoch)
        run.save_results({"accuracy": 0.9, "curve": [1, 2.5, None]}, "scores")
        run.save_results({"accuracy": 0.9, "curve": [1, float("nan")]}, "scores.json")
        run.save_results(table, "table")
        run.save_results(table.reset_index(drop=True), "table.parquet")
        run.save_results(numpy.arange(12.0).reshape(3, 4), "array")
        run.save_encoder(Labels(), "labels")
        run.save_encoder(LabelEncoder().fit(["cat", "dog"]), "classes")
    plots = PlotMetrics(folder.parent.parent, style={"pickle": True, "latex": False})
    plots.metric("loss", save_to=folder.parent.parent / "figures" / "loss")
    (folder.parent.parent / "conf" / "plotting").mkdir(parents=True)
    (folder.parent.parent / "conf" / "plotting" / "Mine.yaml").write_text(
        "defaults: [Default, _self_]\nlatex: false\nfigsize: [5.0, 3.0]\n"
        "rcParams: {lines.linewidth: 2}\n"
    )


# --- bookkeeping -----------------------------------------------------------------------------


def all_other_runs(results, experiment="single", run=RUN):
    """Every other run is shown as it is."""
    from expkit_bookkeeping import find_runs

    expected = {"small_0.003_1": "completed", "small_0.2_1": "completed", "small_0.5_1": "failed",
                "small_0.7_1": "lost"}  # fmt: skip
    del expected[run.rpartition("/")[2]]
    records = {record.folder.name: record for record in find_runs(results / experiment)}
    states = {name: record.state for name, record in records.items()}
    assert {name: states.get(name) for name in expected} == expected
    return records


def records(results):
    from expkit_bookkeeping import read_run
    from expkit_bookkeeping.launching import recorded_sources
    from expkit_bookkeeping.reading import find_run, is_alive, outcome_numbers

    all_other_runs(results)
    for record in (read_run(results / RUN), find_run(results / RUN)):
        if record is not None:
            is_alive(record)
            recorded_sources(record)
            assert record.state != "unknown" or record.reason
    outcome_numbers(results / RUN)


def table(results):
    from expkit_bookkeeping import load_metrics
    from expkit_bookkeeping import results as results_of

    frame = results_of(results / "single")
    assert len(frame) in (3, 4)  # run.json may be missing
    frame.table()
    repr(frame)
    load_metrics(results / "single")


def curves(results):
    from expkit_bookkeeping import load_metrics
    from expkit_bookkeeping.reading import folders_with_metrics, read_curves

    load_metrics(results / RUN)
    assert set(read_curves(results / LOST_RUN)) == {"loss", "val/acc"}
    folders_with_metrics(results / "single")
    for curve in read_curves(results / RUN).values():
        assert len(curve.steps) == len(curve.values)


def claims(results):
    from expkit_bookkeeping.reading import find_run

    records = all_other_runs(results, run=LOST_RUN)
    assert records[LOST_RUN.rpartition("/")[2]].state in ("running", "lost", "unknown")
    find_run(results / LOST_RUN)


def removed(results):
    from expkit_bookkeeping.reading import removed_runs

    for run in removed_runs(results / "single"):
        if run.trash is not None:
            assert run.trash.is_relative_to(results / "single" / ".trash")


def code(results):
    from expkit_bookkeeping import find_runs
    from expkit_bookkeeping.launching import recorded_sources

    for record in find_runs(results / "single"):
        recorded_sources(record)


def config(results):
    from expkit_bookkeeping.reading import read_config

    read_config(results / RUN)


def environment(results):
    from expkit_hydra.commands import show

    assert show([str(results / "single"), "0.2"]) == 0


def saved_results(name):
    def read(results):
        from expkit_bookkeeping._results.values import load_results
        from expkit_bookkeeping.reading import outcome_numbers

        outcome_numbers(results / NEW_RUN)
        load_results(results / NEW_RUN, name)

    return read


def labels(results):
    from expkit_bookkeeping._results.encoders import load_encoder

    load_encoder(results / NEW_RUN, Labels(), "labels", pickle=False)


def classes(results):
    from sklearn.preprocessing import LabelEncoder

    from expkit_bookkeeping._results.encoders import load_encoder

    load_encoder(results / NEW_RUN, LabelEncoder, "classes", pickle=False)


def checkpoint(results):
    from expkit_bookkeeping._checkpoints.resuming import resume

    resume(results / LOST_RUN, objects={}, read_only=True, report=lambda text: None)


def model(results):
    import torch

    from expkit_bookkeeping._checkpoints.states import load_state
    from expkit_bookkeeping._runs.settings import RunSettings

    class Anything(torch.nn.Module):
        def load_state_dict(self, state, **options):
            assert isinstance(state, dict)

    options = {"part": "model", "settings": RunSettings(), "strict": True, "unsafe": False}
    load_state(results / LOST_RUN, Anything(), "epoch_0002", **options)


# --- hydra -----------------------------------------------------------------------------------


def grid(results):
    from expkit_hydra import Grid
    from expkit_hydra.reading import grid_runs, grid_settings

    Grid.load(results / GRID)
    grid_runs(results / "tiny")
    grid_settings(results / "tiny")


def grid_on_demand(results):
    from expkit_hydra.launching import open_grid

    grid = open_grid(results / GRID)
    assert isinstance(grid.run_names, frozenset)
    for index in range(len(grid.runs)):
        assert grid.runs[index].index == index


def frozen(results):
    from expkit_hydra.launching import open_grid

    grid = open_grid(results / GRID)
    for index in (0, 7):
        # A run that a rule skips has none; and a class may have been renamed.
        with contextlib.suppress(LookupError):
            grid.config(index)
            grid.launcher_key(index)


def succeeded(results):
    from expkit_hydra._after.succeeded_verbs import have_succeeded

    have_succeeded(results / "tiny", [], ["sync"])


def hydra_files(results):
    from expkit_hydra.commands import show

    assert show([str(results / "single"), "0.2"]) == 0


# --- slurm -----------------------------------------------------------------------------------


def submissions(results):
    from expkit_slurm._submissions.placements import all_placements
    from expkit_slurm._submissions.record import find_submissions

    list(all_placements(find_submissions(results / "packed")))


# --- timer -----------------------------------------------------------------------------------


def timers(results):
    from expkit_timer import Timers

    Timers.load(results / RUN / "timer.yaml")


# --- mlflow ----------------------------------------------------------------------------------


def journal(results):
    from expkit_mlflow._journal.experiments import find_journals
    from expkit_mlflow._journal.ownership import has_owner
    from expkit_mlflow._journal.reading import (
        has_ended,
        is_completed,
        read_attempts,
        read_entries,
    )
    from expkit_mlflow._journal.reconciling import read_cuts

    assert len(find_journals(results / "single")) >= 3
    path = results / RUN / "tracking.jsonl"
    for read in (has_ended, is_completed, read_attempts, read_cuts, has_owner):
        read(path)
    list(read_entries(path))


# --- plotting --------------------------------------------------------------------------------


def recipe(results):
    from expkit_plotting import restyle

    restyle(results / "new" / "figures" / "loss")


def style(results):
    from expkit_plotting import PlotStyle

    PlotStyle.load(results / "new" / "conf" / "plotting" / "Mine.yaml")


def drawn(results):
    from expkit_plotting._figure_files.fingerprints import FigureFingerprints

    fingerprints = FigureFingerprints(results / "tiny" / "plots")
    figure = results / "tiny" / "plots" / "loss.png"
    fingerprints.is_current(figure, "x")
    fingerprints.outdated_folders([figure])


def plotted(results):
    from expkit_plotting._data.run_folders import experiment_style, read_folder

    assert len(read_folder(results / "single").runs) >= 3
    experiment_style(results / "single")


VALUE = (ValueError,)
READERS = [
    Reader("run.json", f"{RUN}/run.json", records),
    Reader("run.json in a table", f"{RUN}/run.json", table),
    Reader("claim", f"{LOST_RUN}/claims/0001.json", claims),
    Reader("removed.jsonl", "single/.trash/removed.jsonl", removed, kind="jsonl"),
    Reader("code", "new/code/*.json", code),
    Reader("metrics.jsonl", f"{RUN}/metrics.jsonl", curves, kind="jsonl"),
    Reader("metrics.jsonl in a table", f"{RUN}/metrics.jsonl", table, kind="jsonl"),
    Reader("config.yaml", f"{RUN}/config.yaml", config, VALUE, kind="yaml"),
    Reader(
        "results in YAML",
        f"{NEW_RUN}/results/scores.yaml",
        saved_results("scores.yaml"),
        VALUE,
        "yaml",
    ),
    Reader(
        "results in JSON", f"{NEW_RUN}/results/scores.json", saved_results("scores.json"), VALUE
    ),
    Reader(
        "results in CSV", f"{NEW_RUN}/results/table.csv", saved_results("table.csv"), VALUE, "text"
    ),
    Reader(
        "schema of a CSV file",
        f"{NEW_RUN}/results/table.csv.schema.json",
        saved_results("table.csv"),
        VALUE,
    ),
    Reader(
        "results in Parquet",
        f"{NEW_RUN}/results/table.parquet",
        saved_results("table.parquet"),
        VALUE,
        "bytes",
    ),
    Reader("array", f"{NEW_RUN}/results/array.npy", saved_results("array"), VALUE, "bytes"),
    Reader("encoder", f"{NEW_RUN}/states/labels.json", labels, (ValueError, TypeError)),
    Reader(
        "encoder of scikit-learn",
        f"{NEW_RUN}/states/classes.json",
        classes,
        (ValueError, TypeError),
    ),
    Reader(
        "checkpoint", f"{LOST_RUN}/states/epoch_0002.pt", checkpoint, (ValueError, OSError), "bytes"
    ),
    Reader(
        "model in a checkpoint",
        f"{LOST_RUN}/states/epoch_0002.pt",
        model,
        (ValueError, OSError),
        "bytes",
    ),
    Reader("grid_search.yaml", f"{GRID}/grid_search.yaml", grid, VALUE, "yaml"),
    Reader("the latest grid_search.yaml", "tiny/grid_search.yaml", grid, VALUE, "yaml"),
    Reader("grid_search.jsonl", f"{GRID}/grid_search.jsonl", grid, VALUE, "jsonl"),
    Reader(
        "a line of grid_search.jsonl", f"{GRID}/grid_search.jsonl", grid_on_demand, VALUE, "jsonl"
    ),
    Reader("grid_search.index", f"{GRID}/grid_search.index", grid_on_demand, VALUE, "bytes"),
    Reader("configs.jsonl", f"{GRID}/configs.jsonl", frozen, VALUE, "jsonl"),
    Reader("configs.index", f"{GRID}/configs.index", frozen, VALUE, "bytes"),
    Reader(".after.json", "tiny/.after.json", succeeded),
    Reader("hydra.yaml", f"{RUN}/.hydra/hydra.yaml", hydra_files, kind="yaml"),
    Reader("overrides.yaml", f"{RUN}/.hydra/overrides.yaml", hydra_files, kind="yaml"),
    Reader("config.yaml shown", f"{RUN}/config.yaml", hydra_files, kind="yaml"),
    Reader("environment.yaml shown", f"{RUN}/environment.yaml", hydra_files, kind="yaml"),
    Reader("log shown", f"{RUN}/training.log", hydra_files, kind="text"),
    Reader("submission.json", "packed/slurm/*/submission.json", submissions, VALUE),
    Reader("runs.jsonl", "packed/slurm/*/runs.jsonl", submissions, VALUE, "jsonl"),
    Reader("grid of a submission", "packed/grids/*/grid_search.jsonl", submissions, VALUE, "jsonl"),
    Reader("timer.yaml", f"{RUN}/timer.yaml", timers, VALUE, "yaml"),
    Reader("journal", f"{RUN}/tracking.jsonl", journal, (ValueError, OSError), "jsonl"),
    Reader("recipe", "new/figures/loss.json", recipe, (PlottingError,)),
    Reader("data of a recipe", "new/figures/loss.csv", recipe, (PlottingError,), "text"),
    Reader("style", "new/conf/plotting/Mine.yaml", style, (PlottingError,), "yaml"),
    Reader(".drawn.json", "tiny/plots/.drawn.json", drawn),
    Reader("run.json plotted", f"{RUN}/run.json", plotted),
    Reader("metrics.jsonl plotted", f"{RUN}/metrics.jsonl", plotted, kind="jsonl"),
    Reader(
        "config.yaml plotted",
        "single/training/small_0.003_1/config.yaml",
        plotted,
        (PlottingError,),
        "yaml",
    ),
]
IDS = [reader.name for reader in READERS]


def only(results, reader):
    return min(results.glob(reader.file))


@pytest.mark.parametrize("reader", READERS, ids=IDS)
def test_each_reader_takes_its_whole_file(results, reader):
    reader.read(results)


@pytest.mark.faults("a damaged or hostile file spoils itself alone")
@pytest.mark.parametrize("reader", READERS, ids=IDS)
def test_nothing_in_its_place_spoils_more_than_one_file(results, reader, campaign):
    path = only(results, reader)
    faults = []
    for damage in all_contents(reader.kind):
        campaign.tried += 1
        try:
            check(reader, results, path, damage)
        except BaseException as error:
            faults.append(f"{damage.name}: {''.join(traceback.format_exception(error)[-6:])}")
    assert not faults, "\n".join(faults)


@pytest.mark.faults("a damaged or hostile file spoils itself alone")
@pytest.mark.parametrize("reader", READERS, ids=IDS)
def test_no_damage_spoils_more_than_one_file(results, reader, campaign):
    path = only(results, reader)

    @seed(campaign.seed)
    @settings(
        max_examples=len(campaign.rounds(20)),
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],  # to explain, it traces, and the limits are hit
    )
    @given(damages(path.read_bytes(), reader.kind))
    def search(damage):
        note(f"{damage!r}")
        check(reader, results, path, damage)

    search()
