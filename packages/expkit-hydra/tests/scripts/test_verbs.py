"""`list`, `best`, `table` and `compare` on what real sweeps left behind."""

import csv
import io
import json
import os
import statistics
from contextlib import suppress

import pytest

from expkit_bookkeeping import Bookkeeping, Run
from expkit_hydra import commands
from expkit_hydra.commands import best, compare, list_experiments, table

SCRIPT = """
import hydra
from expkit_bookkeeping import Bookkeeping


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    with Bookkeeping.from_config(cfg) as run:
        for epoch in range(cfg.epochs):
            size = {"mlp": 1, "cnn": 2}[cfg.model]
            accuracy = 0.1 * size + 0.01 * cfg.seed - 0.001 * epoch
            run.log_metrics({"loss": 1.0 / (epoch + size), "acc": accuracy}, step=epoch)
        run.save_results({"test_acc": accuracy / 2}, "test")
        if cfg.seed == cfg.fails:
            raise ValueError("it fails")


main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: digits
model: mlp
seed: 1
epochs: 2
width: 32
fails: null
scheduler: {epochs: "${epochs}"}
expkit: {metric: acc, direction: maximize, after: []}
hydra: {sweeper: {params: {model: [mlp, cnn], seed: [1, 2, 3]}}}
"""
NAMES = ["broken", "wide", "digits"]  # the newest first
PLOT = """
import sys
from pathlib import Path

folder = Path(__file__).parent.parent
(folder / "told").write_text(" ".join(sys.argv[1:]))
print("1 plot over all runs")
sys.exit((folder / "broken").exists())
"""


@pytest.fixture(scope="module")
def project(make_app, tmp_path_factory):
    """Three experiments; in `broken` the best run has failed."""
    app = make_app(tmp_path_factory.mktemp("project"))
    (app.folder / "train.py").write_text(SCRIPT)
    (app.folder / "config.yaml").write_text(CONFIG)
    app.train("-m")
    app.train("-m", "experiment_id=wide", "width=64", "epochs=3", "model=cnn", "seed=1,2")
    app.train("-m", "experiment_id=broken", "fails=3", "model=cnn", code=1)
    return app


@pytest.fixture
def results(project, monkeypatch):
    """The folder of results, from the folder above it."""
    monkeypatch.chdir(project.folder)
    return project.folder / "results"


def answer(verb, *arguments, capsys, code=0):
    """What a verb prints with --json."""
    assert verb([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_list_shows_the_experiments_the_newest_first(results, capsys):
    assert list_experiments([]) == 1  # a run of one has failed

    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["experiment", "runs", "best", "metric", "best", "run", "last",
                              "activity"]  # fmt: skip
    by_name = {line.split()[0]: line for line in lines}
    assert [name for name in by_name if name in NAMES] == NAMES
    assert "2 completed, 1 failed" in by_name["broken"]
    assert by_name["digits"].split()[1:6] == ["6", "completed", "0.23", "acc", "cnn_3"]
    assert by_name["digits"].rstrip().endswith(" s ago")


def test_list_answers_programs(results, capsys):
    listed = answer(list_experiments, "results", capsys=capsys, code=1)["experiments"]

    (digits,) = [entry for entry in listed if entry["experiment"] == "digits"]
    assert digits["path"] == "results/digits"
    assert digits["states"] == {"completed": 6}
    assert digits["best"] == {"run": "cnn_3", "value": pytest.approx(0.23), "step": 0}
    assert max(entry["last_activity"] for entry in listed) == listed[0]["last_activity"]


def test_list_of_one_experiment_and_of_none(results, tmp_path, capsys):
    only = answer(list_experiments, "results/digits", capsys=capsys)["experiments"]
    assert [entry["experiment"] for entry in only] == ["digits"]

    assert list_experiments([str(tmp_path / "missing")]) == 2
    assert "does not exist, so it is no experiment" in capsys.readouterr().err


def test_list_tells_of_runs_that_no_grid_and_no_config_describes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with Bookkeeping("results/plain/training/a", console=False) as run:
        run.log_metrics({"loss": float("nan")}, step=0)
    (tmp_path / "results" / "data").mkdir()

    (plain,) = answer(list_experiments, "results", capsys=capsys)["experiments"]

    assert (plain["experiment"], plain["metric"], plain["best"]) == ("plain", None, None)


def test_best_names_the_run_and_lines_that_load_it(results, capsys):
    assert best(["results/digits"]) == 0

    name, value, path, *_ = capsys.readouterr().out.splitlines()
    assert name == "cnn_3"
    assert value == "best acc 0.23 at step 0 (maximize, of 6 runs)"
    found = answer(best, "results/digits", capsys=capsys)
    assert found["path"] == path == "results/digits/training/cnn_3"
    scope = {}
    exec("\n".join(found["python"]), scope)
    assert scope["run"].best["value"] == found["value"]


def test_best_counts_completed_runs_and_names_a_better_one_that_is_none(results, capsys):
    best(["results/broken"])

    output = capsys.readouterr().out
    assert output.startswith("cnn_2\n")
    assert "better, but failed: cnn_3" in output


def test_best_compares_any_number_of_a_run_once_it_is_told_how(results, capsys):
    assert best(["results/digits", "--metric", "loss"]) == 2
    assert "add --direction maximize or --direction minimize" in capsys.readouterr().err

    by_loss = answer(
        best, "results/digits", "--metric", "loss", "--direction", "minimize", capsys=capsys
    )
    by_test = answer(
        best, "results/digits", "--metric", "test_acc", "--direction", "minimize", capsys=capsys
    )

    assert (by_loss["run"], by_loss["value"], by_loss["step"]) == ("cnn_1", 1 / 3, None)
    assert (by_test["run"], by_test["value"]) == ("mlp_1", pytest.approx(0.109 / 2))
    best(["results/digits", "--metric", "loss", "--direction", "minimize"])
    assert "the same value: cnn_2, cnn_3\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "arguments", "says"),
    [
        (best, ["results/digits", "--metric", "tset_acc"], "Did you mean 'test_acc'?"),
        (table, ["results/digits", "--metric", "tset_acc"], "Did you mean 'test_acc'?"),
        (table, ["results/digits", "--group-by", "modle"], "Did you mean 'model'?"),
        (compare, ["results/digits", "results/wide", "--metric", "acccc"], "Did you mean 'acc'?"),
        (compare, ["results/digits", "results/digits"], "is named twice"),
        (compare, ["results/digits", "results/wied"], "Did you mean results/wide?"),
        (best, ["results/frist"], "does not exist"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(results, capsys, verb, arguments, says):
    assert verb(arguments) == 2

    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.out == ""


def test_an_experiment_without_a_metric_or_a_completed_run_has_no_best(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with suppress(ZeroDivisionError), Bookkeeping("results/e/training/a", console=False) as run:
        run.log_metrics({"loss": 1.0}, step=0)
        raise ZeroDivisionError

    assert best(["results/e"]) == 2
    assert best(["results/e", "--metric", "loss", "--direction", "minimize"]) == 2

    first, second = capsys.readouterr().err.splitlines()
    assert "expkit.metric is not set" in first
    assert second == "No completed run of results/e has a value of loss; a is failed."


def expected_means(results) -> dict[str, tuple[float, float]]:
    """By model mean and sample standard deviation of the last accuracy."""
    values = {}
    for folder in (results / "digits" / "training").iterdir():
        run = Run(folder)
        values.setdefault(run.config["model"], []).append(run.record.metrics["acc"])
    return {
        model: (statistics.mean(numbers), statistics.stdev(numbers))
        for model, numbers in values.items()
    }


def test_table_shows_means_with_their_number(results, capsys):
    assert table(["results/digits"]) == 0

    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "best_acc", "acc", "loss", "test_acc"]
    assert sorted(line.split()[0] for line in lines) == ["cnn", "mlp"]
    assert all(line.count("(n = 3)") == 4 for line in lines)
    for model, (mean, std) in expected_means(results).items():
        (line,) = [line for line in lines if line.startswith(model)]
        assert f" {mean:.3f} ± {std:.3f} (n = 3)" in line


def test_table_as_csv_and_json_has_all_digits(results, capsys):
    expected = expected_means(results)

    assert table(["results/digits", "--csv", "--metric", "acc"]) == 0
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    answered = answer(table, "results/digits", "--metric", "acc", capsys=capsys)

    assert list(rows["cnn"]) == ["model", "runs", "acc_mean", "acc_std", "acc_n"]
    assert answered["group_by"] == ["model"]
    for group in answered["groups"]:
        mean, std = expected[group["keys"]["model"]]
        numbers = {"mean": pytest.approx(mean), "std": pytest.approx(std), "n": 3}
        assert group["metrics"] == {"acc": numbers}
        row = rows[group["keys"]["model"]]
        assert float(row["acc_mean"]) == group["metrics"]["acc"]["mean"]
        assert (row["runs"], row["acc_n"]) == ("3", "3")


def test_table_groups_as_it_is_told(results, capsys):
    each = answer(table, "results/digits", "--group-by", "none", "--metric", "acc", capsys=capsys)
    seeds = answer(table, "results/digits", "--group-by", "seed", "--metric", "acc", capsys=capsys)

    assert len(each["groups"]) == 6
    assert each["groups"][0]["metrics"]["acc"]["std"] == "NaN"
    assert [(group["keys"]["seed"], group["runs"]) for group in seeds["groups"]] == [
        (1, 2), (2, 2), (3, 2),
    ]  # fmt: skip


def test_table_for_latex_is_that_of_the_library(results, capsys):
    from expkit_bookkeeping import results as results_of

    table(["results/digits", "--latex", "--metric", "acc", "--spread", "ci95", "--digits", "2"])

    expected = results_of(results / "digits").table(metrics="acc", spread="ci95")
    assert capsys.readouterr().out == expected.to_latex(digits=2)


def test_table_warns_of_configurations_that_differ_and_ends_with_1(project, monkeypatch, capsys):
    monkeypatch.chdir(project.folder)
    project.train("-m", "experiment_id=mixed", "model=cnn", "seed=1")
    project.train("-m", "experiment_id=mixed", "model=cnn", "seed=2", "width=64")

    assert table(["results/mixed"]) == 1

    assert "width (32, 64)" in capsys.readouterr().err


def test_compare_tells_what_differs_and_what_came_out(results, capsys):
    compared = answer(compare, "results/digits", "results/wide", capsys=capsys)

    assert (compared["metric"], compared["column"]) == ("acc", "best_acc")
    # `scheduler.epochs` refers to `epochs`, and does not differ by itself.
    assert compared["differences"] == {
        "model": [["cnn", "mlp"], ["cnn"]],
        "seed": [[1, 2, 3], [1, 2]],
        "epochs": [[2], [3]],
        "width": [[32], [64]],
    }
    assert [entry["best"]["run"] for entry in compared["experiments"]] == ["cnn_3", "cnn_2"]
    means = {
        (group["keys"]["experiment"], group["keys"]["model"]): group["metrics"]["best_acc"]
        for group in compared["groups"]
    }
    assert means["digits", "cnn"] == {"mean": pytest.approx(0.22), "n": 3,
                                      "std": pytest.approx(0.01)}  # fmt: skip
    assert means["wide", "cnn"]["mean"] == pytest.approx(0.215)
    assert means["wide", "cnn"]["n"] == 2
    assert len(means) == 3


def test_compare_shows_means_of_the_same_configuration_beside_each_other(results, capsys):
    assert compare(["results/digits", "results/wide", "results/broken", "--no-figure"]) == 0

    output = capsys.readouterr().out
    assert "2 completed, 1 failed" in output
    _, _, means = output.partition("mean ± standard deviation of best acc:\n")
    header, _, *lines = means.splitlines()
    assert header.split() == ["model", "digits", "wide", "broken"]
    cells = {line.split()[0]: line for line in lines}
    assert cells["mlp"].count("–") == 2
    assert [cells["cnn"].count(f"(n = {n})") for n in (3, 2)] == [1, 2]


def test_experiments_of_which_one_records_no_best_are_compared_by_their_last_values(
    project, monkeypatch, capsys
):
    monkeypatch.chdir(project.folder)
    project.train("-m", "experiment_id=plain", "expkit.metric=null", "model=cnn", "seed=1,2")

    compared = answer(compare, "results/digits", "results/plain", capsys=capsys)

    assert compared["column"] == "acc"
    assert [entry["best"]["value"] for entry in compared["experiments"]] == [
        pytest.approx(0.229), pytest.approx(0.219),
    ]  # fmt: skip


@pytest.fixture
def plot_command(tmp_path, monkeypatch):
    """A package whose `plot` writes down what it is told, found as expkit-plotting is."""
    package = tmp_path / "little"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PLOT)
    information = tmp_path / "little-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: little\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[expkit.commands]\nplot = little:plot\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def test_compare_draws_the_metric_of_all_in_one_figure(results, plot_command, capsys):
    arguments = ["results/digits", "results/wide"]

    assert compare(arguments) == 0
    assert (plot_command / "told").read_text() == "plot results/digits results/wide --metric acc"
    assert capsys.readouterr().out.endswith("\n1 plot over all runs\n")

    (plot_command / "broken").touch()
    assert compare(arguments) == 1
    assert "plot ended with exit code 1: there is no figure." in capsys.readouterr().err

    assert compare([*arguments, "--metric", "test_acc", "--direction", "maximize"]) == 0
    assert compare([*arguments, "--no-figure"]) == 0


@pytest.mark.parametrize("verb", sorted(commands.VERBS))
def test_help_says_what_the_exit_codes_mean(verb, capsys):
    with pytest.raises(SystemExit):
        commands.VERBS[verb](["--help"])

    words = " ".join(capsys.readouterr().out.split())
    assert words.startswith(f"usage: expkit {verb} ")
    assert "Exit codes: 0: " in words
    assert "2: cannot be answered; 69: a package is missing." in words
