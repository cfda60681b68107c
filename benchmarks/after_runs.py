"""From the end of a sweep's last run to the prompt: MLflow, figures, the table, Python's exit.

The sweep is the demo, examples/digits.py: 12 runs with checkpoints and a journal for MLflow, and
figures of two metrics as PNG and PDF. Each repeat is a process of its own in a new folder. What
`sync`, `plot` and `report` add stands beside the sweep with one of them and without any, the floor.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path

from measuring import Bar, Contender, measure, options, report

DEMO = Path(__file__).resolve().parents[1] / "examples" / "digits.py"
OURS, FLOOR = "expkit", "floor: expkit.after=[]"
VERBS = {
    OURS: "sync,plot,report",
    "expkit, sync alone": "sync",
    "expkit, plot alone": "plot",
    "expkit, report alone": "report",
    FLOOR: "",
}
MOST_S = 3  # of waiting for a prompt; the demo's runs take 15


def after_the_runs(verbs: str, arguments: list[str]) -> tuple[float, dict[str, float]]:
    """Seconds from the last run's end to the prompt, and those of the whole command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        with (folder / "output").open("w") as output:
            start_s = time.time()
            done = subprocess.run(
                [sys.executable, str(DEMO), "-m", f"expkit.after=[{verbs}]", *arguments],
                cwd=folder,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            prompt_s = time.time()
        if done.returncode != 0:
            raise RuntimeError((folder / "output").read_text())
        records = [json.loads(path.read_text()) for path in folder.rglob("run.json")]
    ended_s = max(datetime.fromisoformat(record["ended_at"]).timestamp() for record in records)
    return prompt_s - ended_s, {"s in all": prompt_s - start_s}


def main() -> None:
    """Measure the demo."""
    settings = options(__doc__)
    # On its first import on a machine, matplotlib searches for fonts.
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], check=True)
    arguments = ["epochs=5"] if settings.quick else []
    contenders = [
        Contender(
            name,
            partial(after_the_runs, verbs, arguments),
            floor=FLOOR,
            bars=[Bar(at_most=MOST_S)] if name == OURS else (),
        )
        for name, verbs in VERBS.items()
    ]
    rows = measure("the demo, 12 runs", contenders, 1 if settings.quick else 5)
    report("after_runs", "s", rows, settings.json)


if __name__ == "__main__":
    main()
