"""Without expkit-bookkeeping: tables are plotted, and run folders say what to install."""

import subprocess
import sys

import pytest

HIDE = """if True:
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in HIDDEN:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
"""
BOTH = ("expkit_bookkeeping", "expkit_hydra")


def python(code: str, *arguments: object, hidden=BOTH) -> subprocess.CompletedProcess[str]:
    """Run code where some packages cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", f"HIDDEN = {hidden!r}\n{HIDE}\n{code}", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def written_run(folder, style: str = "") -> None:
    """The least that a run folder holds, so that this works in an environment without siblings."""
    run = folder / "training" / "cnn_1"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"schema": 1, "run_name": "cnn_1", "state": "completed"}')
    (run / "metrics.jsonl").write_text('{"step": 0, "time": 1.0, "metrics": {"loss": 2.5}}\n')
    (folder / "grid_search.yaml").write_text(f"grid_id: a1\nconfig: {{plotting: {{{style}}}}}\n")


def test_dicts_tables_and_csv_files_need_no_other_package(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,loss\n0,2.0\n1,1.0\n")
    code = """if True:
        import pandas
        from expkit_plotting import PlotMetrics
        from expkit_plotting.commands import plot
        PlotMetrics({"a": {"loss": [2.0, 1.0]}}).metric("loss")
        PlotMetrics(pandas.read_csv(sys.argv[1])).run()
        PlotMetrics(sys.argv[1]).run()
        assert plot([sys.argv[1], "--metric", "loss"]) == 0
        print([name for name in sys.modules if name.startswith(("expkit_b", "expkit_h"))])
    """

    done = python(code, tmp_path / "metrics.csv")

    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
    assert (tmp_path / "plots" / "loss.png").is_file()


def test_a_run_folder_without_its_reader_names_the_package_and_the_command(tmp_path):
    written_run(tmp_path / "digits")
    code = "from expkit_plotting import PlotMetrics; PlotMetrics(sys.argv[1])"

    done = python(code, tmp_path / "digits")

    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: Plotting from run folders needs expkit-bookkeeping")
    assert "<1" in last  # the range of the extra
    assert last.endswith("pip install --upgrade 'expkit-plotting[runs]'")


def test_the_command_says_it_in_one_line(tmp_path):
    written_run(tmp_path / "digits")
    code = "from expkit_plotting.commands import plot; sys.exit(plot([sys.argv[1]]))"

    done = python(code, tmp_path / "digits")

    assert done.returncode == 69
    assert done.stderr.startswith("error: Plotting from run folders needs expkit-bookkeeping")
    assert done.stderr.count("\n") == 1


@pytest.mark.runs
def test_a_reader_that_is_too_old_is_named_with_both_versions(tmp_path):
    from importlib.metadata import version

    written_run(tmp_path / "digits")
    code = "from expkit_plotting import PlotMetrics; PlotMetrics(sys.argv[1])"
    old = "import expkit_bookkeeping; sys.modules['expkit_bookkeeping.reading'] = None\n"

    done = python(old + code, tmp_path / "digits", hidden=())

    last = done.stderr.splitlines()[-1]
    installed = f"expkit-bookkeeping {version('expkit-bookkeeping')} is installed"
    assert installed in last
    assert "needs expkit-bookkeeping" in last
    assert "<1" in last


@pytest.mark.runs
def test_without_expkit_hydra_only_what_the_grid_says_is_left_out(tmp_path):
    written_run(tmp_path / "digits", "filetypes: [svg]")
    code = """if True:
        from expkit_plotting import PlotMetrics
        plots = PlotMetrics(sys.argv[1])
        print(plots.style.filetypes, plots.run_recipe("cnn")[0].title)
        try:
            plots.run_recipe(0)
        except ImportError as error:
            print(error)
    """

    alone = python(code, tmp_path / "digits", hidden=("expkit_hydra",))

    facts, number = alone.stdout.splitlines()
    assert facts == "('png', 'pdf') cnn_1"
    assert number.startswith("A run's number in the grid needs expkit-hydra")
    assert python(code, tmp_path / "digits", hidden=()).stdout.startswith("('svg',) cnn_1\n")
