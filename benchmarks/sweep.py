"""A sweep from the command to its end: trivial runs, one after another in one process.

The script's function writes one file. Hydra's basic sweeper and launcher do what they do by
default, and so does expkit: each run has a claim, run.json, a log, its configuration and a place
in the table, and the commands after a grid run. Each repeat is a process of its own. Its folder is
beside the JSON and is removed when everything has been measured: for minutes after ten thousand
files have been deleted, as another area does in /tmp, ext4 takes a millisecond to create a file
near them.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from measuring import Bar, Contender, growth, measure, options, report

PEER, OURS = "Hydra's basic sweeper and launcher", "expkit"
OURS_BARE = "expkit without the commands after a grid"
FLOOR = "floor: start Hydra, write the files"

SCRIPT = """
import pathlib
import sys

import hydra
from hydra.core.hydra_config import HydraConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    folder = pathlib.Path(HydraConfig.get().runtime.output_dir)
    (folder / "result.txt").write_text(str(cfg.lr * cfg.seed))


main()
"""
FLOOR_SCRIPT = """
import pathlib
import sys

import hydra


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    for seed in range(int(sys.argv[1].removeprefix("runs="))):
        folder = pathlib.Path("results", "sweep", str(seed))
        folder.mkdir(parents=True)
        (folder / "result.txt").write_text(str(cfg.lr * seed))


main()
"""
KEYS = "runs: 1\nlr: 0.1\nseed: 1\n"
CONFIGS = {
    PEER: f"{KEYS}hydra: {{sweep: {{dir: results/sweep}}}}\n",
    OURS: f"defaults: [expkit, _self_]\nexperiment_id: sweep\n{KEYS}",
    OURS_BARE: f"defaults: [expkit, _self_]\nexperiment_id: sweep\n{KEYS}expkit: {{after: []}}\n",
    FLOOR: KEYS,
}


def one_sweep(name: str, runs: int, place: Path) -> tuple[float, dict[str, float]]:
    """Seconds for the whole command in a new folder in `place`, and milliseconds per run."""
    folder = Path(tempfile.mkdtemp(dir=place)).resolve()
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text(CONFIGS[name])
    (folder / "train.py").write_text(FLOOR_SCRIPT if name == FLOOR else SCRIPT)
    arguments = [f"runs={runs}"] if name == FLOOR else ["-m", f"seed=range({runs})"]
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with (folder / "output").open("w") as output:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "train.py", *arguments],
            cwd=folder,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        elapsed_s = time.perf_counter() - start
    written = len(list(folder.rglob("result.txt")))
    if done.returncode != 0 or written != runs:
        raise RuntimeError(f"{name}: {written} of {runs} runs\n{(folder / 'output').read_text()}")
    return elapsed_s, {"ms per run": 1000 * elapsed_s / runs}


def main() -> None:
    """Measure growing numbers of runs."""
    settings = options(__doc__)
    cases = {10: 1, 100: 1} if settings.quick else {10: 5, 100: 5, 1_000: 2}
    rows = []
    settings.json.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.json) as name:
        place = Path(name)
        for runs, repeats in cases.items():
            contenders = [
                Contender(
                    OURS,
                    partial(one_sweep, OURS, runs, place),
                    floor=FLOOR,
                    peer=PEER,
                    bars=[Bar(at_most=0.2, times=PEER)] if runs == 100 else (),
                ),
                Contender(
                    OURS_BARE, partial(one_sweep, OURS_BARE, runs, place), floor=FLOOR, peer=PEER
                ),
                Contender(FLOOR, partial(one_sweep, FLOOR, runs, place)),
            ]
            if runs <= 100:
                contenders.append(
                    Contender(PEER, partial(one_sweep, PEER, runs, place), repeats=min(repeats, 3))
                )
            rows += measure(f"{runs:,} runs", contenders, repeats)
    rows = growth(rows, OURS, {"100 runs": 100, "1,000 runs": 1_000}, at_most=1.3)
    report("sweep", "s", rows, settings.json, "Includes the start of Python and Hydra.")


if __name__ == "__main__":
    main()
