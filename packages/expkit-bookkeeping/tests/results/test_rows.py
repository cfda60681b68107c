"""All runs of an experiment together: rows, results.csv, tables."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from expkit_bookkeeping import Bookkeeping, find_runs, result_rows, results, write_results_csv
from expkit_bookkeeping.launching import claim_run

FAILED = "cnn_3"


def add(experiment: Path, name: str, swept: dict[str, object], accuracy: list[float]) -> None:
    folder = experiment / "training" / name
    claim_run(folder, run_name=name, experiment_id="digits", swept=swept)
    config = {"expkit": {"metric": "val_accuracy"}}
    with Bookkeeping(folder, config=config, console=False) as run:
        for step, value in enumerate(accuracy):
            run.log_metrics({"loss": 1.0 / (step + 1), "val_accuracy": value}, step=step)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    experiment = tmp_path_factory.mktemp("results") / "digits"
    add(experiment, "cnn_1", {"model": "cnn", "width": None, "seed": 1}, [0.5, 0.9, 0.8])
    add(experiment, "cnn_2", {"model": "cnn", "width": None, "seed": 2}, [0.5, 0.6])
    add(experiment, "mlp_1", {"model": "mlp", "width": [8, 8], "seed": 1}, [0.5, 0.4])
    claim = claim_run(experiment / "training" / FAILED, swept={"model": "cnn", "seed": 3})
    claim.finish("failed", ValueError("no"))
    return experiment


def test_a_row_has_what_the_run_was_and_what_came_out(experiment):
    row = result_rows(experiment)[0]

    assert row == {
        "run_name": "cnn_1",
        "model": "cnn",
        "width": None,
        "seed": 1,
        "state": "completed",
        "attempt": 1,
        "seconds": row["seconds"],
        "loss": pytest.approx(1 / 3),
        "val_accuracy": 0.8,
        "best_val_accuracy": 0.9,
        "best_step": 1,
        "code": row["code"],
        "path": "training/cnn_1",
    }


def test_all_rows_have_the_same_columns_in_the_same_order(experiment):
    rows = result_rows(experiment)

    assert len({tuple(row) for row in rows}) == 1
    failed = next(row for row in rows if row["run_name"] == FAILED)
    assert failed["val_accuracy"] is None


def test_results_csv_opens_in_pandas_and_has_no_absolute_paths(experiment):
    path = write_results_csv(experiment)

    assert path == experiment / "results.csv"
    assert str(experiment) not in path.read_text()
    frame = pd.read_csv(path, index_col="run_name")
    assert frame.loc["cnn_1", "best_val_accuracy"] == 0.9
    assert math.isnan(frame.loc[FAILED, "loss"])
    with path.open() as file:
        widths = [row["width"] for row in csv.DictReader(file)]
    assert widths == ["None", "None", "", "[8, 8]"]


def test_results_csv_needs_no_pandas(experiment):
    script = (
        "import sys; sys.modules['pandas'] = None\n"
        "from pathlib import Path\n"
        "from expkit_bookkeeping import results, write_results_csv\n"
        "write_results_csv(Path(sys.argv[1]))\n"
        "try: results(Path(sys.argv[1]))\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, experiment], capture_output=True, text=True, check=True
    )

    assert 'pip install "expkit-bookkeeping[pandas]"' in done.stdout


def test_a_path_is_text_or_anything_that_the_system_takes_for_one(experiment):
    class Folder:
        def __fspath__(self) -> str:
            return str(experiment)

    assert result_rows(str(experiment)) == result_rows(Folder()) == result_rows(experiment)
    assert find_runs(str(experiment)) == find_runs(Folder()) == find_runs(experiment)
    assert results(Folder()).equals(results(str(experiment)))


def test_results_is_one_frame_over_all_runs(experiment):
    frame = results(experiment)

    assert isinstance(frame, pd.DataFrame)
    assert list(frame["run_name"]) == ["cnn_1", "cnn_2", "cnn_3", "mlp_1"]
    assert list(results(experiment, "failed")["run_name"]) == [FAILED]
    assert list(results(experiment, runs=find_runs(experiment)[:1])["run_name"]) == ["cnn_1"]


def test_a_table_has_mean_and_std_over_the_seeds_of_completed_runs(experiment):
    table = results(experiment).table()

    assert list(table.index) == [("cnn", "None"), ("mlp", "[8, 8]")]
    assert table.loc[("cnn", "None"), ("val_accuracy", "mean")] == pytest.approx(0.7)
    assert table.loc[("cnn", "None"), ("val_accuracy", "std")] == pytest.approx(0.02**0.5)
    assert table.loc[("cnn", "None"), ("best_val_accuracy", "mean")] == pytest.approx(0.75)
    assert math.isnan(table.loc[("mlp", "[8, 8]"), ("val_accuracy", "std")])
    assert list(table["runs", "count"]) == [2, 1]


def test_a_table_may_group_by_less_and_count_other_runs(experiment):
    table = results(experiment).table(group_by="model", metrics=["loss"], state=None)

    assert list(table.index) == ["cnn", "mlp"]
    assert list(table.columns) == [
        ("loss", "mean"),
        ("loss", "std"),
        ("loss", "n"),
        ("runs", "count"),
    ]
    assert table.loc["cnn", ("runs", "count")] == 3


def test_a_filtered_frame_still_makes_tables(experiment):
    frame = results(experiment)

    assert list(frame[frame["model"] == "mlp"].table().index) == [("mlp", "[8, 8]")]


def test_an_experiment_without_swept_keys_is_one_group(tmp_path):
    add(tmp_path, "a", {}, [0.5])
    add(tmp_path, "b", {}, [0.7])

    table = results(tmp_path).table()

    assert table["val_accuracy", "mean"].tolist() == [pytest.approx(0.6)]


def test_a_table_as_text_shows_mean_and_std(experiment):
    text = results(experiment).table(group_by="model").text(digits=2)

    assert text.loc["cnn", "val_accuracy"] == "0.70 ± 0.14 (n = 2)"
    assert text.loc["mlp", "val_accuracy"] == "0.40 (n = 1)"


def test_a_small_mean_does_not_look_like_zero(tmp_path):
    for name, value in (("a", 0.00071), ("b", 0.00073), ("c", 0.5)):
        add(tmp_path, name, {"model": "small" if name < "c" else "large", "seed": name}, [value])
    table = results(tmp_path).table("model")
    assert table.text().loc["small", "val_accuracy"] == "0.00072 ± 0.00001 (n = 2)"
    assert table.text().loc["large", "val_accuracy"] == "0.500 (n = 1)"
    assert "$0.00072 \\pm 0.00001$" in table.to_latex(bold={})


def test_latex_is_booktabs_with_text_escaped_and_the_best_in_bold(experiment):
    latex = results(experiment).table(group_by="model", metrics="val_accuracy").to_latex(digits=2)

    assert latex == (
        "% mean ± sample standard deviation\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "model & val\\_accuracy & $n$ \\\\\n"
        "\\midrule\n"
        "cnn & $\\mathbf{0.70 \\pm 0.14}$ & 2 \\\\\n"
        "mlp & $0.40$ & 1 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_what_is_bold_may_be_chosen(experiment, tmp_path):
    table = results(experiment).table(group_by="model", metrics=["loss", "val_accuracy"])

    latex = table.to_latex(tmp_path / "table.tex", bold={"loss": "minimize"})

    assert latex.count("mathbf") == 1
    assert "$\\mathbf{0.417 \\pm 0.118}$ & $0.700" in latex
    assert (tmp_path / "table.tex").read_text() == latex


def test_a_metric_named_like_a_column_gets_a_column_of_its_own(tmp_path):
    claim = claim_run(tmp_path / "training" / "a", swept={"seed": 1, "state": "x"})
    claim.finish("completed", metrics={"seconds": 3.5, "seed": 0.5})

    (row,) = result_rows(tmp_path)

    assert (row["state"], row["swept.state"], row["seed"]) == ("completed", "x", 1)
    assert (row["metric.seconds"], row["metric.seed"]) == (3.5, 0.5)
