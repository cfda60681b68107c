"""What it costs to draw one metric of many runs as PNG and PDF, in seconds.

Each repeat is a process of its own and counts its imports and everything from the numbers in
memory to the second file on disk. All contenders draw 10 × 5 inches at 300 dots per inch.
"""

import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Bar, Contender, measure, options, report

METRIC = "val_loss"
EPOCHS = 1_000
SIZE_IN, DPI = (10, 5), 300
EDGES = (0.05, 0.25, 0.5, 0.75, 0.95)  # the quantiles that expkit's bands show
RUNS = (10, 100, 1_000)
MOST = 1_000  # runs; the bars are for this many
FEW = 30  # runs; up to this many expkit draws lines by default

PEER = "seaborn, as in autrainer"
BANDS_FLOOR, LINES_FLOOR = "matplotlib: fill_between of quantiles", "matplotlib: LineCollection"
FOLDERS_FLOOR = "json.loads, then fill_between"
BANDS, LINES = "expkit, the default", "expkit, all lines"
FOLDERS = "expkit plot, from run folders"

Rows = list[list[float]]
# Three steps: import; bring the numbers into the contender's usual form, which is not counted;
# draw and save.
Steps = Iterator[None]


def curves(runs: int) -> Rows:
    """Losses that fall with noise: one row per run, from best to worst."""
    generator = random.Random(0)
    decay = [2 * math.exp(-epoch / 200) for epoch in range(EPOCHS)]
    return [
        [loss + run / runs + generator.gauss(0, 0.05) for loss in decay]
        for run in range(1, runs + 1)
    ]


def write_folders(experiment: Path, rows: Rows) -> None:
    """The same numbers, and as many of another metric, in run folders as in docs/formats.md."""
    for number, losses in enumerate(rows):
        run = experiment / "training" / name_of(number)
        run.mkdir(parents=True)
        record = {"schema": 1, "run_name": run.name, "swept": {"model": "cnn", "lr": number}}
        (run / "run.json").write_text(json.dumps({**record, "state": "completed"}))
        lines = [
            json.dumps({"step": epoch, "time": 1.7e9 + epoch, "metrics": {"loss": 1, METRIC: loss}})
            for epoch, loss in enumerate(losses)
        ]
        (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def name_of(number: int) -> str:
    """A run's name, as in a sweep."""
    return f"cnn_{number}"


def seaborn_lines(rows: Rows, _: Path) -> Steps:
    """One line per run, all of them in the legend; laid out and saved once per file type."""
    import pandas
    import seaborn
    from matplotlib import pyplot

    yield
    table = pandas.DataFrame({name_of(number): row for number, row in enumerate(rows)})
    yield
    seaborn.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    figure = pyplot.figure(figsize=SIZE_IN)
    seaborn.lineplot(data=table, dashes=False)
    for suffix in ("png", "pdf"):
        pyplot.tight_layout()
        figure.savefig(f"{METRIC}.{suffix}", dpi=DPI)


def collection(rows: Rows, _: Path) -> Steps:
    """All runs as one artist, and a legend of ten."""
    import numpy
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    yield
    matrix = numpy.array(rows)
    yield
    figure = Figure(figsize=SIZE_IN)
    axes = figure.subplots()
    lines = numpy.empty((*matrix.shape, 2))
    lines[:, :, 0] = numpy.arange(EPOCHS)
    lines[:, :, 1] = matrix
    axes.add_collection(
        LineCollection(lines, colors=[f"C{number % 10}" for number in range(len(rows))])
    )
    axes.autoscale_view()
    samples = [Line2D([], [], color=f"C{number}") for number in range(10)]
    axes.legend(samples, [name_of(number) for number in range(10)])
    save(figure)


def fills(rows: Rows, _: Path) -> Steps:
    """Two bands of quantiles, their median, and the five best runs."""
    import numpy
    from matplotlib.figure import Figure

    yield
    matrix = numpy.array(rows)
    yield
    draw_fills(numpy, Figure(figsize=SIZE_IN), matrix)


def read_and_fill(_: Rows, results: Path) -> Steps:
    """The same from run folders: the least that reading costs with Python's own json."""
    import numpy
    from matplotlib.figure import Figure

    yield
    yield
    rows = []
    for path in sorted((results / "training").glob("*/metrics.jsonl")):
        with path.open() as file:
            rows.append([json.loads(line)["metrics"][METRIC] for line in file])
    draw_fills(numpy, Figure(figsize=SIZE_IN), numpy.array(rows))


def draw_fills(numpy: Any, figure: Any, matrix: Any) -> None:
    """What the default draws, with nothing around it but a legend."""
    axes = figure.subplots()
    epochs = numpy.arange(EPOCHS)
    lowest, low, median, high, highest = numpy.quantile(matrix, EDGES, axis=0)
    axes.fill_between(epochs, lowest, highest, alpha=0.2, linewidth=0)
    axes.fill_between(epochs, low, high, alpha=0.3, linewidth=0)
    axes.plot(epochs, median)
    for number in matrix.min(axis=1).argsort()[:5]:
        axes.plot(epochs, matrix[number], label=name_of(number))
    axes.legend()
    save(figure)


def save(figure: Any) -> None:
    """Lay out once and write both files."""
    figure.tight_layout()
    for suffix in ("png", "pdf"):
        figure.savefig(f"{METRIC}.{suffix}", dpi=DPI)


def expkit(rows: Rows, _: Path, *, lines: str = "auto") -> Steps:
    """From a dict of runs. By default up to 30 runs are lines, more are bands."""
    from expkit_plotting import PlotMetrics, PlotStyle

    PlotMetrics, PlotStyle  # noqa: B018 - the names are lazy, and these imports are counted
    yield
    runs = {name_of(number): {METRIC: row} for number, row in enumerate(rows)}
    yield
    style = PlotStyle(figsize=SIZE_IN, dpi=DPI)
    PlotMetrics(runs, style).metric(METRIC, lines=lines, save_to=METRIC)


def expkit_plot(_: Rows, results: Path) -> Steps:
    """What `expkit plot --metric` does in a shell: it reads all runs in full."""
    from expkit_plotting.commands import plot

    yield
    Path("Wide.yaml").write_text(f"defaults: [Default]\nfigsize: {list(SIZE_IN)}\ndpi: {DPI}\n")
    yield
    status = plot([str(results), "--metric", METRIC, "--style", "Wide.yaml", "--out", "."])
    assert status == 0


CONTENDERS = {
    BANDS: expkit,
    BANDS_FLOOR: fills,
    FOLDERS: expkit_plot,
    FOLDERS_FLOOR: read_and_fill,
    LINES: partial(expkit, lines="all"),
    LINES_FLOOR: collection,
    PEER: seaborn_lines,
}


def one_process(name: str, runs: int, results: Path) -> None:
    """Draw once, in the working directory, and print the figures."""
    rows = curves(runs)
    steps = CONTENDERS[name](rows, results)
    start = time.perf_counter()
    next(steps)
    import_s = time.perf_counter() - start
    next(steps)
    start = time.perf_counter()
    next(steps, None)
    draw_s = time.perf_counter() - start
    figures = {
        "import s": import_s,
        "peak MB": peak_mb(),
        "PDF kB": Path(f"{METRIC}.pdf").stat().st_size / 1000,
    }
    print(json.dumps([import_s + draw_s, figures]))


def peak_mb() -> float:
    """The most memory that this process ever had (Linux counts in kB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def in_process(name: str, runs: int, results: Path) -> tuple[float, dict[str, float]]:
    """Seconds, and other figures."""
    # seaborn's legend of all runs is taller than the figure, and matplotlib warns about it.
    command = [sys.executable, "-W", "ignore::UserWarning", str(Path(__file__).resolve())]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--one", name, str(runs), str(results)],
            stdout=subprocess.PIPE,
            check=True,
            cwd=folder,
        )
    value, others = json.loads(done.stdout.splitlines()[-1])
    return value, others


def contenders_of(runs: int, results: Path, *, quick: bool) -> list[Contender]:
    """The contenders of the case with so many runs."""
    floors = {
        BANDS: LINES_FLOOR if runs <= FEW else BANDS_FLOOR,
        FOLDERS: FOLDERS_FLOOR,
        LINES: LINES_FLOOR,
    }
    bars = {
        BANDS: [Bar(at_most=0.01, times=PEER)],
        LINES: [Bar(at_most=1.5, times=LINES_FLOOR)],
    }
    left_out = set()
    if runs <= FEW:
        left_out = {LINES, BANDS_FLOOR}  # the default draws all lines
    elif runs == MOST and quick:
        left_out = {LINES, LINES_FLOOR, PEER}  # several minutes
    return [
        Contender(
            name,
            partial(in_process, name, runs, results),
            floor=floors.get(name),
            peer=PEER if name in floors else None,
            bars=bars.get(name, ()) if runs == MOST else (),
            repeats=1 if name == PEER and runs == MOST else None,
        )
        for name in CONTENDERS
        if name not in left_out
    ]


def main() -> None:
    """Measure growing numbers of runs."""
    settings = options(__doc__)
    # On its first import on a machine, matplotlib searches for fonts.
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True)
    rows = []
    for runs in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder, "digits")
            write_folders(results, curves(runs))
            contenders = contenders_of(runs, results, quick=settings.quick)
            rows += measure(f"{runs:,} runs", contenders, 1 if settings.quick else 3)
    report("plots", "s", rows, settings.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one_process(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
