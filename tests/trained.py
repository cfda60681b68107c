"""What a training of killed_training.py has left, as a user sees it."""

import contextlib
import json
import sqlite3

import torch
import yaml


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def logged(folder):
    return [(line["step"], line["metrics"]) for line in lines(folder / "metrics.jsonl")]


def in_mlflow(experiment):
    """By run: its state, and all points with how often each is there; but for those of timers."""
    with contextlib.closing(sqlite3.connect(experiment / "mlflow.db")) as store:
        runs = {
            name: (status, []) for name, status in store.execute("SELECT name, status FROM runs")
        }
        for name, *point in store.execute(
            "SELECT runs.name, key, step, value FROM metrics "
            "JOIN runs ON runs.run_uuid = metrics.run_uuid "
            "WHERE key NOT LIKE 'time.%' ORDER BY key, step, value"
        ):
            runs[name][1].append(tuple(point))
    return runs


def checkpoint(path):
    return torch.load(path, weights_only=True)


def outcome(experiment, name, tracked, rows):
    """All that a run has left, but for times and what this checkout is."""
    folder = experiment / "training" / name
    record = json.loads((folder / "run.json").read_text())
    last = checkpoint(folder / "states" / "epoch_0003.pt")
    return {
        "run.json": {key: record[key] for key in ("state", "progress", "metrics", "best", "error")},
        "metrics": logged(folder),
        "mlflow": tracked[name],
        "files in states/": sorted(path.name for path in (folder / "states").iterdir()),
        "best.pt": checkpoint(folder / "states" / "best.pt")["epoch"],
        "last checkpoint": plain({key: last[key] for key in last.keys() - {"timers"}}),
        "timed": yaml.safe_load((folder / "timer.yaml").read_text())["epoch"]["count"],
        "row": plain(rows.loc[name].to_dict()),
        "left over": [path.name for path in folder.rglob("*.tmp")],
    }


def plain(value):
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, torch.Tensor) else repr(value)
