"""What it costs to show an experiment as a page, in seconds, and how the page behaves.

A page is made in a process of its own, from run folders on disk to the file. Then headless
Chromium opens it: until the first paint, and from a move of the pointer over the first chart to
the next frame. MLflow's UI shows the same runs from its store, which is filled before; there
`median` is from the start of the server to the runs on the screen.
"""

import json
import math
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Bar, Contender, measure, options, report

METRICS = ("loss", "val/loss", "val/acc", "train/acc", "lr")
EXPKIT, PLOTLY, MLFLOW = "expkit report", "plotly, one chart per metric", "MLflow's UI"
CHROMIUM = shutil.which("chromium") or "chromium"
MB, PAINT, HOVER = "MB", "first paint, ms", "hover, ms"
MOVES = 20  # of the pointer

MAKE_REPORT = (
    "import sys; from expkit_plotting import Report; Report(sys.argv[1]).save(sys.argv[2])"
)
# What a user of plotly writes: all points of all runs, one figure per metric, one file.
MAKE_PLOTLY = """
import json, sys
from pathlib import Path
import plotly.graph_objects as go
experiment, target = map(Path, sys.argv[1:])
figures = {}
for folder in sorted((experiment / "training").iterdir()):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    steps = [row["step"] for row in rows]
    for metric in rows[0]["metrics"]:
        values = [row["metrics"][metric] for row in rows]
        figure = figures.setdefault(metric, go.Figure(layout={"title": metric}))
        figure.add_trace(go.Scatter(x=steps, y=values, name=folder.name, mode="lines"))
with target.open("w") as file:
    for number, figure in enumerate(figures.values()):
        file.write(figure.to_html(full_html=False, include_plotlyjs=number == 0))
"""


def write_experiment(experiment: Path, runs: int, epochs: int, metrics: int) -> None:
    """Runs as in docs/formats.md: five models, ten rates, and seeds."""
    generator = random.Random(0)
    for number in range(runs):
        swept = {
            "model": ("cnn", "mlp", "vit", "resnet", "mixer")[number % 5],
            "lr": 10 ** -(number // 5 % 10 / 2),
            "seed": number // 50,
        }
        run = experiment / "training" / "_".join(map(str, swept.values()))
        run.mkdir(parents=True)
        rate = generator.uniform(1, 6)
        lines, last = [], {}
        for epoch in range(epochs):
            left = math.exp(-rate * epoch / epochs)
            values = (left, 1.1 * left, 1 - left, 1 - 0.9 * left, 0.1 * left)
            last = {
                name: round(value + generator.gauss(0, 0.01), 6)
                for name, value in zip(METRICS[:metrics], values, strict=False)
            }
            lines.append(json.dumps({"step": epoch, "time": 1.7e9 + epoch, "metrics": last}))
        record = {
            "schema": 1, "id": f"{number:032x}", "run_name": run.name, "experiment_id": "bench",
            "state": "completed", "attempt": 1, "claim": 1, "swept": swept, "metrics": last,
            "progress": {"step": epochs - 1, "total": epochs}, "elapsed_s": 60.0,
        }  # fmt: skip
        (run / "run.json").write_text(json.dumps(record))
        (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        config = "".join(f"{key}: {value}\n" for key, value in swept.items())
        (run / "config.yaml").write_text(f"{config}epochs: {epochs}\n")


Figures = tuple[float, dict[str, float]]  # seconds, and others by their heading


def made(
    program: str, experiment: Path, target: Path, chart: str
) -> tuple[float, dict[str, float]]:
    """Seconds until the file is there, its size, and how it behaves."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, experiment, target], check=True)
    seconds = time.perf_counter() - begin
    return seconds, {MB: target.stat().st_size / 1e6, **behaviour(target.as_uri(), chart)}


def behaviour(address: str, chart: str) -> dict[str, float]:
    """Milliseconds until the first paint, and from a move of the pointer to the next frame."""
    with browser() as tab:
        tab.goto(address, timeout=300_000)
        tab.locator(chart).first.scroll_into_view_if_needed(timeout=300_000)
        tab.wait_for_timeout(500)
        box = tab.locator(chart).first.bounding_box()
        frame = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))"
        times = []
        for number in range(MOVES):
            begin = time.perf_counter()
            x = box["x"] + box["width"] * (0.2 + 0.6 * number / MOVES)
            tab.mouse.move(x, box["y"] + box["height"] * (0.3 + 0.4 * (number % 5) / 5))
            tab.evaluate(frame)
            times.append(1e3 * (time.perf_counter() - begin))
        return {PAINT: first_paint_ms(tab), HOVER: statistics.median(times)}


def first_paint_ms(tab: Any) -> float:
    """When the browser first showed something, after the navigation's start."""
    entries = "performance.getEntriesByName('first-contentful-paint').map((e) => e.startTime)[0]"
    return float(tab.evaluate(entries) or math.nan)


@contextmanager
def browser() -> Iterator[Any]:
    """A tab of headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium.new_page(viewport={"width": 1280, "height": 900})
        chromium.close()


def mlflow_ui(store: Path) -> Figures:
    """Seconds from the start of MLflow's UI to its list of runs, with what it has painted first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{store}",
               "--port", str(port), "--workers", "1"]  # fmt: skip
    begin = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with browser() as tab:
            while True:
                try:
                    tab.goto(f"http://127.0.0.1:{port}/#/experiments/1/runs", timeout=60_000)
                    break
                except Exception:  # not there yet
                    if server.poll() is not None:
                        raise
                    time.sleep(0.1)
            tab.locator("a[href*='/experiments/1/runs/']").first.wait_for(timeout=120_000)
            return time.perf_counter() - begin, {PAINT: first_paint_ms(tab)}
    finally:
        server.terminate()
        server.wait()


def fill_store(experiment: Path, store: Path) -> None:
    """The same runs in MLflow's store, with their last values, which its list of runs shows."""
    import mlflow
    from mlflow.entities import Metric

    mlflow.set_tracking_uri(f"sqlite:///{store}")
    client = mlflow.MlflowClient()
    number = client.create_experiment("bench")
    for folder in sorted((experiment / "training").iterdir()):
        run = client.create_run(number, run_name=folder.name).info.run_id
        last = json.loads((folder / "metrics.jsonl").read_bytes().splitlines()[-1])
        time_ms = int(1e3 * last["time"])
        points = [
            Metric(name, value, time_ms, last["step"]) for name, value in last["metrics"].items()
        ]
        client.log_batch(run, metrics=points)
        client.set_terminated(run)


def main() -> None:
    """Measure pages of a few and of many runs."""
    settings = options(__doc__)
    cases = [(12, 50, 2), (1000, 1000, 5)]
    if settings.quick:
        cases = [(12, 50, 2), (200, 200, 5)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for runs, epochs, metrics in cases:
            experiment = Path(folder, f"bench_{runs}")
            write_experiment(experiment, runs, epochs, metrics)
            store = Path(folder, f"mlflow_{runs}.db")
            fill_store(experiment, store)
            is_full = runs == 1000
            bars = [Bar(at_most=1.5, figure=MB)]
            if is_full:
                bars = [
                    *(Bar(at_most=10), Bar(at_most=12, figure=MB)),
                    *(Bar(at_most=1500, figure=PAINT), Bar(at_most=100, figure=HOVER)),
                ]
            report_of: Callable[[], Figures] = partial(
                made, MAKE_REPORT, experiment, Path(folder, "report.html"), "figure.chart .plot"
            )
            plotly_of = partial(
                made, MAKE_PLOTLY, experiment, Path(folder, "plotly.html"), ".plotly-graph-div"
            )
            contenders = [
                Contender(EXPKIT, report_of, peer=PLOTLY, bars=bars),
                Contender(PLOTLY, plotly_of, repeats=1 if is_full else None),
                Contender(MLFLOW, partial(mlflow_ui, store)),
            ]
            case = f"{runs:,} runs × {epochs:,} epochs × {metrics} metrics"
            rows += measure(case, contenders, repeats=3)
    report("report", "s", rows, settings.json)


if __name__ == "__main__":
    main()
