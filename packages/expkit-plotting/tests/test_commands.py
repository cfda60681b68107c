import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from expkit_plotting._recipes.recipe import LINES
from expkit_plotting.commands import plot, plot_parser, restyle, style_names


@pytest.fixture
def digits(experiment, tmp_path, monkeypatch):
    folder = experiment({"model": ["mlp", "cnn"], "seed": [1, 2]}, epochs=4)
    monkeypatch.chdir(tmp_path)
    return folder


def test_figures_of_single_runs_are_drawn_on_demand(digits, capsys):
    assert plot(["results/digits"]) == 0

    assert capsys.readouterr().out == (
        "3 plots over all runs: results/digits/plots/{loss,val_loss,val_accuracy}.{png,pdf}\n"
    )
    assert not list(digits.glob("training/*/plots"))

    assert plot(["results/digits", "mlp_1", "--out", "figures", "0"]) == 0

    assert capsys.readouterr().out == "2 plots of single runs: figures/*.{png,pdf}\n"
    assert {path.name for path in Path("figures").glob("*.p*")} == {
        *("mlp_1.png", "mlp_1.pdf", "cnn_1.png", "cnn_1.pdf")
    }


def test_the_folder_of_a_run_names_the_run(digits):
    assert plot(["results/digits/training/mlp_2"]) == 0
    assert plot(["results/digits", "results/digits/training/cnn_1"]) == 0

    assert [str(path.relative_to(digits)) for path in sorted(digits.rglob("*.png"))] == [
        "training/cnn_1/plots/metrics.png",
        "training/mlp_2/plots/metrics.png",
    ]


def test_everything_is_drawn_and_the_paths_are_printed_on_two_lines(digits, capsys):
    assert plot(["results/digits", "--each"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "3 plots over all runs: results/digits/plots/{loss,val_loss,val_accuracy}.{png,pdf}",
        "4 plots of single runs: results/digits/training/*/plots/metrics.{png,pdf}",
    ]
    assert len(list(digits.glob("training/*/plots/metrics.p*"))) == 8
    assert len(list(digits.glob("plots/*.p*"))) == 6


def test_a_second_call_draws_nothing(digits, capsys):
    plot(["results/digits", "--each"])
    files = {path: path.stat().st_mtime_ns for path in digits.rglob("*.p*g")}
    capsys.readouterr()

    assert plot(["results/digits", "--each"]) == 0

    assert capsys.readouterr().out.count("(up to date)") == 2
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_what_a_newer_version_knows_of_the_figures_stays(digits, capsys):
    plot(["results/digits"])
    drawn = digits / "plots" / ".drawn.json"
    newer = drawn.read_text().replace('"schema": 1', '"schema": 2')
    drawn.write_text(newer)
    capsys.readouterr()

    assert plot(["results/digits"]) == 0

    assert "up to date" not in capsys.readouterr().out
    assert drawn.read_text() == newer


def test_what_version_0_1_drew_is_not_drawn_again(digits, capsys):
    plot(["results/digits", "--each"])
    drawn = digits / "plots" / ".drawn.json"
    drawn.write_text(json.dumps(json.loads(drawn.read_text())["figures"]))
    capsys.readouterr()

    plot(["results/digits", "--each"])

    assert capsys.readouterr().out.count("(up to date)") == 2


def test_only_what_changed_is_drawn_again(digits, run_folder, capsys):
    plot(["results/digits", "--each"])
    run_folder(digits / "training" / "mlp_1", {"model": "mlp", "seed": 1}, {"loss": [3.0, 1.0]})
    (digits / "training" / "cnn_1" / "plots" / "metrics.png").unlink()
    capsys.readouterr()

    plot(["results/digits", "--each"])

    assert "single runs (2 up to date)" in capsys.readouterr().out


def test_what_was_drawn_before_a_failure_is_not_drawn_again(digits, capsys):
    blocked = digits / "training" / "mlp_2" / "plots"
    blocked.write_text("a file where a folder must be")

    assert plot(["results/digits", "--each"]) == 1
    blocked.unlink()
    capsys.readouterr()

    assert plot(["results/digits", "--each"]) == 0
    out = capsys.readouterr().out
    assert "3 plots over all runs (up to date)" in out
    assert "single runs (3 up to date)" in out


def test_names_longer_than_a_file_system_allows_are_cut(run_folder, tmp_path, monkeypatch, capsys):
    names = ["accuracy_of_" + "a_very_long_name_" * 20 + end for end in ("x", "y")]
    monkeypatch.chdir(tmp_path)
    run_folder(tmp_path / "e" / "training" / "r", {"x": 1}, {name: [1.0, 2.0] for name in names})

    assert plot(["e"]) == 0

    figures = {path.name for path in tmp_path.glob("e/plots/*.png")}
    assert len(figures) == 2
    assert all(name.startswith("accuracy_of_a_very_long_name") for name in figures)


def test_another_style_draws_everything_again(digits, capsys):
    plot(["results/digits"])
    (digits.parent.parent / "conf" / "plotting").mkdir(parents=True)
    style = digits.parent.parent / "conf" / "plotting" / "Mine.yaml"
    style.write_text("defaults: [Default]\nfiletypes: [svg]\n")
    capsys.readouterr()

    plot(["results/digits", "--style", "Mine"])

    assert "up to date" not in capsys.readouterr().out
    assert (digits / "plots" / "Mine" / "loss.svg").is_file()


def pictures(folder):
    return {path: path.read_bytes() for path in folder.rglob("*.p*") if path.suffix != ".json"}


@pytest.fixture
def print_style(digits):
    """A style of the user's own, in conf/plotting/."""
    style = digits.parent.parent / "conf" / "plotting" / "Print.yaml"
    style.parent.mkdir(parents=True)
    style.write_text("defaults: [Default]\ncontext: paper\n")


def test_figures_drawn_by_hand_in_another_style_survive_what_a_sweep_draws(
    digits, print_style, run_folder, capsys
):
    plot(["results/digits", "--each"])
    own = pictures(digits)
    plot(["results/digits", "--each", "--style", "Print"])
    by_hand = {path: image for path, image in pictures(digits).items() if path not in own}

    assert len(by_hand) == len(own)  # beside the others, which are as they were
    assert own.items() <= pictures(digits).items()
    assert capsys.readouterr().out.splitlines()[2:] == [
        "3 plots over all runs: results/digits/plots/Print/{loss,val_loss,val_accuracy}.{png,pdf}",
        "4 plots of single runs: results/digits/training/*/plots/Print/metrics.{png,pdf}",
    ]

    run_folder(digits / "training" / "mlp_3", {"model": "mlp", "seed": 3}, {"loss": [3.0, 1.0]})
    plot(["results/digits", "--each"])  # as a sweep calls it

    now = pictures(digits)
    assert by_hand.items() <= now.items()
    assert now[digits / "plots" / "loss.png"] != own[digits / "plots" / "loss.png"]
    assert capsys.readouterr().err == (
        "warning: The figures in results/digits/plots/Print show earlier data. "
        "Draw them again with the same --style, or delete them.\n"
    )

    plot(["results/digits", "--each", "--style", "Print"])
    plot(["results/digits", "--each"])

    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("(up to date)") == 2
    assert (
        pictures(digits)[digits / "plots" / "Print" / "loss.png"]
        != (by_hand[digits / "plots" / "Print" / "loss.png"])
    )


def test_figures_of_another_style_that_were_deleted_are_not_missed(
    digits, print_style, run_folder, capsys
):
    plot(["results/digits", "--style", "Print", "--metric", "loss"])
    shutil.rmtree(digits / "plots" / "Print")
    run_folder(digits / "training" / "mlp_3", {"model": "mlp", "seed": 3}, {"loss": [3.0, 1.0]})

    plot(["results/digits"])

    assert capsys.readouterr().err == ""


def test_the_experiments_own_style_by_its_name_draws_no_second_set(digits, capsys):
    plot(["results/digits", "--each"])
    files = pictures(digits)
    capsys.readouterr()

    plot(["results/digits", "--each", "--style", "Default"])

    assert capsys.readouterr().out.count("(up to date)") == 2
    assert pictures(digits) == files


def test_a_style_can_be_asked_for_where_the_experiments_own_is_broken(digits, print_style):
    (digits / "grid_search.yaml").write_text("config: {plotting: {dpi: '${dots}'}}\n")

    assert plot(["results/digits", "--metric", "loss"]) == 1
    assert plot(["results/digits", "--metric", "loss", "--style", "Print"]) == 0


def test_the_experiments_own_style_is_the_default(digits):
    (digits / "grid_search.yaml").write_text("config: {plotting: {filetypes: [svg], dpi: 50}}\n")

    plot(["results/digits", "--metric", "loss"])

    assert [path.name for path in digits.glob("plots/loss.*")] == ["loss.svg"]


@pytest.mark.parametrize(
    ("options", "file"),
    [
        (["--metric", "loss"], "plots/loss.png"),
        (["--metric", "val_accuracy", "--group-by", "model"], "plots/val_accuracy_by_model.png"),
        (["--metric", "loss", "--group-by", "none"], "plots/loss_by_run.png"),
        (["--metric", "loss", "--top", "1"], "plots/loss_top1.png"),
        (["--metric", "loss", "--lines", "all"], "plots/loss_all.png"),
        (["mlp_2"], "training/mlp_2/plots/metrics.png"),
        (["p_2"], "training/mlp_2/plots/metrics.png"),
        (["--run", "mlp_2"], "training/mlp_2/plots/metrics.png"),
    ],
)
def test_options_choose_one_figure(digits, options, file):
    assert plot(["results/digits", *options]) == 0

    assert [str(path.relative_to(digits)) for path in digits.rglob("*.png")] == [file]


def test_what_options_take_is_what_figures_and_styles_are_there(tmp_path, monkeypatch):
    folder = tmp_path / "conf" / "plotting"
    folder.mkdir(parents=True)
    (folder / "Mine.yaml").write_text("defaults: [Thesis]")
    (folder.parent / "below").mkdir()
    monkeypatch.chdir(folder.parent / "below")
    lines = next(action for action in plot_parser()._actions if action.dest == "lines")

    assert style_names() == ["Default", "Mine", "Thesis"]
    assert lines.choices == LINES


def test_figures_can_go_elsewhere(digits, capsys):
    assert plot(["results/digits", "--out", "figures", "--run", "mlp_1", "--metric", "loss"]) == 0

    assert not list(digits.rglob("*.png"))
    assert {path.name for path in (digits.parent.parent / "figures").glob("*.png")} == {
        "loss.png",
        "mlp_1.png",
    }


def test_an_error_is_one_line_and_exit_code_1(digits, capsys):
    assert plot(["results/digits", "--metric", "los"]) == 1

    captured = capsys.readouterr()
    assert captured.err == (
        "error: The experiment has no metric 'los'. Did you mean 'loss'? "
        "Known: loss, val_loss, val_accuracy.\n"
    )
    assert captured.out == ""


def test_a_warning_is_one_line_without_source_code(digits, without_latex):
    # In a process of its own: Python's list of warnings belongs to all threads of one.
    done = subprocess.run(
        [sys.executable, "-m", "expkit_plotting", "plot", "results/digits", "--style", "Thesis",
         "--metric", "loss"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: LaTeX cannot be used (not on PATH: latex, kpsewhich); ")


def test_restyle_in_the_folder_of_a_style_rewrites_the_figure_and_prints_its_files(digits, capsys):
    style = digits.parent.parent / "Keep.yaml"
    style.write_text("defaults: [Default]\npickle: true\nfiletypes: [png]\n")
    plot(["results/digits", "--metric", "loss", "--style", "Keep.yaml"])
    figure = digits / "plots" / "Keep" / "loss.png"
    before = figure.read_bytes()
    style.write_text("context: talk\nfiletypes: [png]\n")
    capsys.readouterr()

    assert restyle([str(figure), "--style", "Keep.yaml"]) == 0

    assert capsys.readouterr().out == "results/digits/plots/Keep/loss.png\n"
    assert figure.read_bytes() != before


def test_restyle_puts_another_style_beside_the_experiments_own_figure(digits, print_style, capsys):
    (digits / "grid_search.yaml").write_text("config: {plotting: {pickle: true}}\n")
    plot(["results/digits", "--metric", "loss"])
    own = pictures(digits)
    capsys.readouterr()

    assert restyle(["results/digits/plots/loss.pdf", "--style", "Print"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "results/digits/plots/Print/loss.png",
        "results/digits/plots/Print/loss.pdf",
    ]
    assert own.items() <= pictures(digits).items()


def test_restyle_without_data_says_so(digits, capsys):
    plot(["results/digits", "--metric", "loss"])

    assert restyle(["results/digits/plots/loss.png"]) == 1
    assert "in a style with pickle: true" in capsys.readouterr().err


def test_the_module_runs_as_a_command_without_display_or_home(digits, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "none")}
    command = [sys.executable, "-m", "expkit_plotting", "plot", "results/digits", "--run", "mlp_1"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 plot of single runs: results/digits/training/mlp_1/plots/")


def test_a_wrong_verb_lists_the_right_ones():
    done = subprocess.run(
        [sys.executable, "-m", "expkit_plotting", "plt"], capture_output=True, text=True
    )

    assert done.returncode == 2
    assert "{plot,report,restyle}" in done.stderr


def test_a_call_with_nothing_to_draw_does_not_even_load_the_drawing(digits):
    plot(["results/digits"])
    code = (
        "import sys; from expkit_plotting.commands import plot\n"
        "assert plot(['results/digits']) == 0\n"
        "assert 'matplotlib.figure' not in sys.modules and 'pandas' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- other kinds of figure


def test_final_values_and_heat_maps_are_of_the_experiments_own_metric(
    experiment, tmp_path, monkeypatch, capsys
):
    experiment({"model": ["mlp", "cnn"], "lr": [0.1, 0.01], "seed": [1, 2]}, epochs=3)
    monkeypatch.chdir(tmp_path)

    assert plot(["results/digits", "--kind", "final"]) == 0
    assert plot(["results/digits", "--kind", "final", "--value", "best", "--metric", "loss"]) == 0
    assert plot(["results/digits", "--kind", "heatmap", "--x", "lr", "--y", "model"]) == 0

    names = [
        "val_accuracy_final_values",
        "loss_final_values_best",
        "val_accuracy_heatmap_x_lr_y_model",
    ]
    assert capsys.readouterr().out.splitlines() == [
        f"1 plot over all runs: results/digits/plots/{name}.{{png,pdf}}" for name in names
    ]
    for name in names:
        assert (tmp_path / "results" / "digits" / "plots" / f"{name}.pdf").is_file()
    plot(["results/digits", "--kind", "final"])
    assert "(up to date)" in capsys.readouterr().out


@pytest.fixture
def with_predictions(digits):
    from expkit_bookkeeping import Run

    for name in ("cnn_1", "cnn_2"):
        run = Run(digits / "training" / name)
        run.add_results({"true": [0, 1, 1, 1], "predicted": [0, 1, 0, 1]}, "test/predictions")
    return digits


def test_a_confusion_matrix_is_of_the_run_that_is_named(with_predictions, capsys):
    assert plot(["results/digits", "cnn_1", "--kind", "confusion"]) == 0
    options = ["--result", "test/predictions", "--classes", "cat,dog", "--normalize", "none"]
    assert plot(["results/digits", "cnn_2", "--kind", "confusion", *options, "--out", "f"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "1 plot of single runs: results/digits/training/cnn_1/plots/confusion_matrix.{png,pdf}",
        "1 plot of single runs: f/cnn_2_confusion_matrix_test_predictions_counts.{png,pdf}",
    ]
    plot(["results/digits", "cnn_1", "--kind", "confusion"])
    assert "(up to date)" in capsys.readouterr().out
    (with_predictions / "training" / "cnn_1" / "results" / "test" / "predictions.yaml").write_text(
        "true: [0, 1]\npredicted: [1, 1]\n"
    )
    plot(["results/digits", "cnn_1", "--kind", "confusion"])
    assert "(up to date)" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--kind", "confusion"], "Name one of the 4 runs: cnn_1, cnn_2, mlp_1, mlp_2"),
        (["mlp_1", "--kind", "confusion"], "Run 'mlp_1' has saved no results"),
        (["cnn_1", "--kind", "confusion", "--metric", "loss"], "A confusion matrix has no metric"),
        (["cnn_1", "--kind", "final"], "A figure of kind 'final' is over all runs"),
        (
            ["--kind", "final", "--lines", "all"],
            "lines is no option of kind 'final', but",
        ),
        (["--value", "best"], "value is no option of kind 'curves', but of final and heatmap"),
        (["--kind", "heatmap"], "A heat map is over two swept keys; 1 differ: model."),
        (["--kind", "heatmap", "--x", "modle", "--y", "seed"], "Did you mean 'model'"),
        (["--kind", "final", "--metric", "acc"], "no metric 'acc'"),
    ],
)
def test_what_a_kind_cannot_draw_is_said(with_predictions, capsys, arguments, complaint):
    assert plot(["results/digits", *arguments]) == 1

    assert complaint in capsys.readouterr().err


def test_the_command_line_has_the_kinds_that_can_be_planned():
    from expkit_plotting._figure_files.planned_figures import KINDS
    from expkit_plotting.commands import plot_parser

    (kind,) = (action for action in plot_parser()._actions if action.dest == "kind")
    assert set(kind.choices) == set(KINDS)
