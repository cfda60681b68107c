"""With real LaTeX, and what happens without it."""

import json
import os
import shutil
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest

from expkit_plotting import PlotMetrics, PlotStyle
from expkit_plotting._style.latex import LatexSupport, cache_file, probe_latex

LATEX = "expkit_plotting._style.latex"

pytestmark = pytest.mark.filterwarnings("ignore:.* fonts lack 漢")

NASTY = r"""val_loss 50% $5 & #1 {x} ^2 ~3 a\b <c> |d| "e" 'f' `g` -- --- é ü ß ø 漢 α → ± µ 🙂"""
MIXED = {NASTY: {"val_loss": [2.0, 1.0]}, "Some_Run_None_None_1": {"val_loss": [1.0, 0.5]}}


def test_any_text_can_be_drawn_with_latex(latex, tmp_path):
    style = PlotStyle(latex=True, filetypes=("png", "pdf"), dpi=60, replace_none=True)

    with pytest.warns(UserWarning, match="lack") as warned:
        PlotMetrics(MIXED, style).metric("val_loss", save_to=tmp_path / "loss")

    (sentence,) = (str(warning.message) for warning in warned)
    assert "LaTeX's fonts lack 漢 (U+6F22), 🙂 (U+1F642): drawn as ?" in sentence
    text = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "loss.pdf", "-"], capture_output=True, text=True
    ).stdout  # fmt: skip
    if shutil.which("pdftotext"):
        assert "50%" in text
        assert "Validation loss" in text


def test_any_text_can_be_drawn_with_mathtext(tmp_path):
    style = PlotStyle(filetypes=("png", "pdf", "svg", "eps"), dpi=60)

    with pytest.warns(UserWarning, match="lack") as warned:
        figure = PlotMetrics(MIXED, style).metric("val_loss", save_to=tmp_path / "loss")

    (sentence,) = (str(warning.message) for warning in warned)
    assert "fonts lack 漢 (U+6F22), 🙂 (U+1F642): drawn as ?. Set font.family" in sentence
    (first, _) = figure.axes[0].get_legend().get_texts()
    assert first.get_text().replace(r"\$", "$").startswith("val_loss 50% $5 & #1")


def test_thesis_fonts_are_embedded_with_and_without_latex(latex, tmp_path, monkeypatch):
    if shutil.which("pdffonts") is None:
        pytest.skip("pdffonts (poppler-utils) is not installed")
    style = PlotStyle.load("Thesis")
    for name, used in [("latex", True), ("mathtext", False)]:
        monkeypatch.setattr(
            f"{LATEX}.probe_latex",
            lambda _, used=used: LatexSupport(used),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            PlotMetrics(MIXED, style).metric("val_loss", save_to=tmp_path / f"{name}.pdf")

        table = subprocess.run(
            ["pdffonts", tmp_path / f"{name}.pdf"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[2:]
        assert table
        assert all(row.split()[-5] == "yes" for row in table)  # the column "emb"
        assert not any("Type 3" in row for row in table)
        assert any("CMR" in row for row in table) == used


def test_thesis_is_as_wide_as_the_column(latex, tmp_path):
    if shutil.which("pdfinfo") is None:
        pytest.skip("pdfinfo (poppler-utils) is not installed")
    PlotMetrics(MIXED, "Thesis").metric("val_loss", save_to=tmp_path / "a.pdf")

    info = subprocess.run(["pdfinfo", tmp_path / "a.pdf"], capture_output=True, text=True).stdout

    assert "388.8 x" in info  # 5.4 in at 72 points


def test_one_probe_serves_the_host(latex, tmp_path, monkeypatch):
    attempts = []
    monkeypatch.setattr(
        f"{LATEX}.try_latex",
        lambda style: attempts.append(style) or LatexSupport(True),
    )
    cache = tmp_path / "cache.json"
    for _ in range(2):  # the second stands for another process
        monkeypatch.setattr(f"{LATEX}._support_by_key", {})
        assert probe_latex(PlotStyle.load("Thesis"), cache=cache).works

    assert len(attempts) == 1
    assert cache_file({"XDG_CACHE_HOME": "/c"}).name.startswith("latex-")


def test_a_failure_is_tried_again_after_an_hour(latex, tmp_path, monkeypatch):
    attempts = []
    monkeypatch.setattr(
        f"{LATEX}.try_latex",
        lambda style: attempts.append(style) or LatexSupport(False, "x"),
    )
    for time in (0.0, 3599.0, 3601.0):
        monkeypatch.setattr(f"{LATEX}._support_by_key", {})
        probe_latex(PlotStyle(), cache=tmp_path / "cache.json", clock=lambda time=time: time)

    assert len(attempts) == 2


def test_a_preamble_that_fails_is_reported_with_the_missing_package(latex, tmp_path):
    style = PlotStyle(rcParams={"text.latex.preamble": r"\usepackage{nosuchpackage}"})

    support = probe_latex(style, cache=tmp_path / "cache.json")

    assert not support.works
    assert "nosuchpackage.sty" in support.advice
    assert "apt install texlive-latex-extra cm-super dvipng" in support.advice


def test_without_latex_one_warning_names_what_is_missing_and_the_plot_is_drawn(
    without_latex, tmp_path
):
    plots = PlotMetrics(MIXED, "Thesis")

    with pytest.warns(UserWarning, match=r"not on PATH: latex, kpsewhich") as warned:  # noqa: PT031 - one warning for two figures
        plots.metric("val_loss", save_to=tmp_path / "loss")
        plots.run(NASTY, save_to=tmp_path / "run")

    about_latex = [warning for warning in warned if "LaTeX cannot be used" in str(warning.message)]
    assert len(about_latex) == 1
    assert "apt install texlive-latex-extra cm-super dvipng" in str(about_latex[0].message)
    assert (tmp_path / "loss.pdf").stat().st_size > 5000


def test_dvipng_is_missed_only_where_matplotlib_needs_it(latex, tmp_path, monkeypatch):
    for program in ("latex", "kpsewhich"):
        (tmp_path / program).symlink_to(shutil.which(program))
    monkeypatch.setenv("PATH", str(tmp_path))
    matplotlib_says = matplotlib.rcParamsDefault.get("text.latex.engine", "latex+dvipng")

    support = probe_latex(PlotStyle(latex=True), cache=tmp_path / "cache.json")

    if matplotlib_says == "latex+dvipng":
        assert support == LatexSupport(False, "not on PATH: dvipng")
    else:
        assert support.works


def test_processes_that_meet_an_empty_tex_cache_draw_the_same(latex, tmp_path):
    code = (
        "import sys; from expkit_plotting import PlotMetrics\n"
        "PlotMetrics({'a': {'val_loss': [2.0, 1.0]}, 'b': {'val_loss': [1.0, 1.0]}},"
        " {'latex': True, 'dpi': 60, 'filetypes': ['png']})"
        ".metric('val_loss', save_to=sys.argv[1])"
    )
    environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path / "mpl")}

    processes = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / f"{i}.png"], env=environment)
        for i in range(3)
    ]

    assert [process.wait() for process in processes] == [0, 0, 0]
    contents = {(tmp_path / f"{i}.png").read_bytes() for i in range(3)}
    assert len(contents) == 1


def test_text_that_latex_refuses_after_all_falls_back(latex, monkeypatch):
    # The probe promised too much, as when the TeX tree changes under a running process.
    monkeypatch.setattr(f"{LATEX}.probe_latex", lambda _: LatexSupport(True))
    style = PlotStyle(latex=True, rcParams={"text.latex.preamble": r"\usepackage{nosuchpackage}"})

    with pytest.warns(UserWarning, match="LaTeX could not draw this figure, mathtext did"):
        figure = PlotMetrics(MIXED, style).metric("val_loss")

    figure.canvas.draw()
    assert not figure.axes[0].yaxis.label.get_usetex()


def test_restyled_with_latex_equals_drawn_with_latex(latex, tmp_path):
    from expkit_plotting import restyle

    kept = PlotStyle(pickle=True, filetypes=("png",), dpi=60)
    PlotMetrics(MIXED, kept).metric("val_loss", save_to=tmp_path / "loss")

    redrawn = restyle(tmp_path / "loss.png", "Thesis")
    at_first = PlotMetrics(MIXED, "Thesis").metric("val_loss")

    for figure in (redrawn, at_first):
        figure.canvas.draw()
    assert np.array_equal(redrawn.canvas.buffer_rgba(), at_first.canvas.buffer_rgba())
    assert json.loads((tmp_path / "loss.json").read_text())["style"]["latex"] is False
