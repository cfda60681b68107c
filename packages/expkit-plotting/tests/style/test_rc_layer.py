"""A style is in force while we draw, and only for us."""

import os
import subprocess
import sys
import threading

import matplotlib
import numpy as np
import pytest

from expkit_plotting import PlotMetrics, PlotStyle
from expkit_plotting._style.rc_layer import rc_layer

STYLE = PlotStyle(filetypes=("png",), dpi=100)


def falling(count: int, length: int = 12) -> dict[str, dict[str, list[float]]]:
    return {
        f"run_{i}": {"loss": [2.0 / (step + 1) + i for step in range(length)]} for i in range(count)
    }


def pixels(figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


def test_global_rc_params_and_pyplot_are_left_alone(tmp_path):
    code = (
        "import matplotlib, sys\n"
        "matplotlib.rcParams['font.size'] = 3.21\n"
        "before = {k: matplotlib.rcParams._get(k) for k in matplotlib.rcParams}\n"
        "kind = type(matplotlib.rcParams)\n"
        "from expkit_plotting import PlotMetrics\n"
        "plots = PlotMetrics({'a': {'loss': [2.0, 1.0]}}, {'context': 'poster', 'rcParams': "
        "{'font.family': 'serif'}})\n"
        f"plots.metric('loss', save_to={str(tmp_path / 'loss')!r})\n"
        "assert {k: matplotlib.rcParams._get(k) for k in matplotlib.rcParams} == before\n"
        "assert type(matplotlib.rcParams) is kind\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'seaborn' not in sys.modules\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}

    subprocess.run([sys.executable, "-c", code], check=True, env=environment)

    assert (tmp_path / "loss.pdf").is_file()


def test_figures_do_not_depend_on_the_users_rc_params():
    plain = pixels(PlotMetrics(falling(3), STYLE).metric("loss"))

    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.grid": True}):
        figure = PlotMetrics(falling(3), STYLE).metric("loss")
        inside = pixels(figure)

    assert (inside == plain).all()


def test_threads_draw_what_one_thread_draws_and_nobody_else_notices():
    styles = [PlotStyle(context=context, dpi=50) for context in ("paper", "talk", "poster")]
    alone = [pixels(PlotMetrics(falling(4), style).metric("loss")) for style in styles]
    keys = ("font.size", "axes.labelsize", "lines.linewidth", "figure.dpi", "text.usetex")
    before = [matplotlib.rcParams[key] for key in keys]
    observed, drawn, done = set(), {}, threading.Event()

    def watch() -> None:
        while not done.wait(0.0005):
            observed.add(tuple(matplotlib.rcParams[key] for key in keys))

    def draw(number: int) -> None:
        for _ in range(2):
            style = styles[number % 3]
            drawn[number] = pixels(PlotMetrics(falling(4), style).metric("loss"))

    watcher = threading.Thread(target=watch)
    workers = [threading.Thread(target=draw, args=(number,)) for number in range(6)]
    watcher.start()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    done.set()
    watcher.join()

    assert observed == {tuple(before)}
    for number, image in drawn.items():
        assert (image == alone[number % 3]).all()


def test_a_users_change_of_rc_params_while_we_draw_is_kept():
    before = matplotlib.rcParams["font.size"]
    try:
        with rc_layer({"font.size": 5.0}):
            other = threading.Thread(
                target=matplotlib.rcParams.__setitem__, args=("font.size", 7.0)
            )
            other.start()
            other.join()
            with matplotlib.rc_context({"lines.linewidth": 4.0}):
                assert matplotlib.rcParams["lines.linewidth"] == 4.0
            assert matplotlib.rcParams["font.size"] == 5.0
        assert matplotlib.rcParams["font.size"] == 7.0
    finally:
        matplotlib.rcParams["font.size"] = before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_while_a_thread_draws_can_draw(tmp_path):
    code = f"""
import multiprocessing, threading
from matplotlib import RcParams, rcParams
from expkit_plotting import PlotMetrics
from expkit_plotting._style.rc_layer import rc_layer

def draw():
    assert type(rcParams) is RcParams
    PlotMetrics({{'a': {{'loss': [2.0, 1.0]}}}}).metric('loss', save_to={str(tmp_path / "a.png")!r})

inside, done = threading.Event(), threading.Event()
def hold():
    with rc_layer({{'font.size': 5.0}}):
        inside.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = multiprocessing.get_context('fork').Process(target=draw)
child.start()
child.join(60)
done.set()
raise SystemExit(child.exitcode is None or child.exitcode)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").is_file()
