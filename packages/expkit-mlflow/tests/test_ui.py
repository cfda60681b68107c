import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from expkit_mlflow import MLFlowLogger

# Nothing that calls home, and no sandbox: CI runs as root.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,900",
    "--virtual-time-budget=20000",
]


@pytest.fixture
def ui(experiment, kit):
    """`expkit ui` on a store whose folder was moved after its run."""
    with MLFlowLogger(experiment, "cnn_adam_0.001_1") as tracking:
        tracking.log_params({"model": "cnn"})
        for step in range(20):
            tracking.log_metrics({"val_accuracy": step / 20}, step)
    moved = experiment.with_name("moved")
    experiment.rename(moved)
    port = kit.free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "expkit_mlflow", "ui", str(moved), "--port", str(port)],
        env={**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},  # somebody else's
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = next((line.split()[0] for line in process.stdout if line.startswith("http")), None)
    yield process, url, moved
    process.terminate()  # not SIGKILL: it has a server to end
    process.wait(30)


def test_the_ui_shows_the_run_and_its_curve(ui, kit, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    kit.require("chromium", browser)
    process, url, moved = ui
    assert url is not None, process.stderr.read()
    run = kit.runs(moved, "moved")["cnn_adam_0.001_1"]
    base = url.partition("/#/")[0]

    def page(address, *more):
        # A browser that gives up early has more in its cache the next time.
        command = [browser, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *more, address]
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    def shows(address, *texts):
        deadline = time.monotonic() + 120
        while True:
            dom = page(address, "--dump-dom")
            missing = [text for text in texts if text not in dom]
            if not missing:
                return dom
            assert time.monotonic() < deadline, f"{missing} not on {address}"

    shows(url, "cnn_adam_0.001_1")
    curve = f"{base}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/model-metrics"
    dom = shows(curve, "val_accuracy", 'class="js-line"')
    line = dom.split('class="js-line" d="')[1].partition('"')[0]
    assert line.count("L") >= 1
    screenshot = os.environ.get("EXPKIT_SCREENSHOT")  # to look at it oneself
    if screenshot:
        page(curve, f"--screenshot={screenshot}")

    artifact = f"{base}/get-artifact?path=config.yaml&run_uuid={run.info.run_id}"
    with urllib.request.urlopen(artifact, timeout=30) as answer:
        assert answer.read() == b"model: cnn\n"
    children = server_processes(moved)
    assert children
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    kit.wait_for(lambda: not server_processes(moved), "the server outlived `expkit ui`")


def server_processes(folder):
    pgrep = subprocess.run(["pgrep", "-f", f"{folder}/mlflow.db"], capture_output=True, text=True)
    return pgrep.stdout.split()


def test_a_port_that_is_taken_is_named(experiment):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "expkit_mlflow", "ui", str(experiment), "--port"]
        ended = subprocess.run([*command, str(port)], capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert re.fullmatch(f"Port {port} on .* Choose another .*\n", ended.stderr)
