"""Runs of several processes: the script starts its own command again, as Lightning's launcher does.

tests/test_lightning.py has Lightning itself.
"""

import json

import pytest

SCRIPT = """
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import hydra
from expkit_bookkeeping import Bookkeeping, process_rank
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd, to_absolute_path


def launch():
    # lightning.fabric.strategies.launchers.subprocess_script, 2.6
    node = HydraConfig.get()
    os.environ.update(LOCAL_RANK="0", NODE_RANK="0", WORLD_SIZE="2")
    return subprocess.Popen(
        [sys.executable, to_absolute_path(sys.argv[0]), *sys.argv[1:],
         f'hydra.run.dir="{node.run.dir}"', "hydra.job.name=train_ddp_process_1",
         "hydra.output_subdir=null"],
        env={**os.environ, "LOCAL_RANK": "1"},
        cwd=get_original_cwd(),
    )


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    other = launch() if "LOCAL_RANK" not in os.environ else None
    logging.getLogger(__name__).info("logged by rank %d", process_rank())
    with Bookkeeping.from_config(cfg) as run:
        run.log_metrics({"x": cfg.x}, step=process_rank())
    facts = [cfg.x, cfg.run_name, cfg.experiment_id, HydraConfig.get().job.name, str(run.folder)]
    with Path(f"rank{process_rank()}.txt").open("a") as file:
        file.write(json.dumps(facts) + "\\n")
    if Path("fail").exists() and process_rank() == 1:
        raise ValueError("rank 1 has no data")
    if other is not None and other.wait() != 0:
        raise RuntimeError("rank 1 failed")


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def app(app):
    (app.folder / "train.py").write_text(SCRIPT)
    config = (app.folder / "config.yaml").read_text()
    (app.folder / "config.yaml").write_text(config.replace("experiment_id: first\n", ""))
    return app


def seen_by(app, rank):
    """What each run has seen, by its x."""
    lines = (app.folder / f"rank{rank}.txt").read_text().splitlines()
    return {json.loads(line)[0]: json.loads(line) for line in lines}


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["x=2"], [2]),
        (["-m"], [1, 2, 3]),
        (["-m", "hydra.launcher.n_jobs=2"], [1, 2, 3]),
    ],
    ids=["single run", "sweep", "processes"],
)
def test_a_rank_that_repeats_the_command_takes_part_in_the_run(app, arguments, values):
    output = app.train(*arguments)

    assert sorted(seen_by(app, 0)) == values
    assert seen_by(app, 1) == seen_by(app, 0)
    training = app.folder / "results" / "train" / "training"
    for x in values:
        folder = training / str(x)
        record = json.loads((folder / "run.json").read_text())
        assert (record["state"], record["attempt"]) == ("completed", 1)
        assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()] == [0]
        assert not list(folder.glob("train_ddp*"))
        assert "train_ddp" not in (folder / ".hydra" / "hydra.yaml").read_text()
        assert "logged by rank 1" not in (folder / "training.log").read_text()
    assert len(list((app.folder / "results").iterdir())) == 1
    for line in ("is completed", "3 completed", "3 in the grid"):
        assert output.count(line) <= 1, output


def test_an_error_of_another_rank_fails_the_run(app):
    app.touch("fail")

    output = app.train("-m", "x=2", code=1)

    assert "ValueError: rank 1 has no data" in output
    record = json.loads((app.folder / "results/train/training/2/run.json").read_text())
    assert (record["state"], record["error"]["message"]) == ("failed", "rank 1 failed")


@pytest.mark.parametrize(
    "arguments",
    [
        ["x=2"],
        ["x=2", "expkit.dry_run=true"],
        ["x=2", "+password=secret"],
        ["x=2", "experiment_id=.."],
        ["x=2", "experiment_id=${no_such_key}"],
    ],
)
def test_only_rank_0_speaks(app, arguments):
    config = (app.folder / "config.yaml").read_text()
    (app.folder / "config.yaml").write_text(config.replace("expkit, _self_", "_self_, expkit"))
    (app.folder / "train.py").write_text(
        SCRIPT.replace("logging.getLogger", "None and logging.getLogger")
    )

    process = app.start("train.py", *arguments, RANK="1", LOCAL_RANK="1")

    assert app.finish(process) == ""
    assert not list(app.folder.glob("results/*/training/2/*"))


def test_another_program_that_a_run_starts_is_no_rank_of_it(app):
    environment = {"EXPKIT_RUN": json.dumps({"command": ["other.py"]})}

    process = app.start("train.py", "-m", RANK="1", **environment)

    assert "this one has rank 1 of a distributed run" in app.finish(process)


SPAWNING = """
import multiprocessing
import os
import signal
import sys

import hydra
from expkit_bookkeeping import Bookkeeping


def train(rank, cfg, ending):
    with Bookkeeping.from_config(cfg, rank=rank) as run:
        run.log_metrics({"rank": rank}, step=0)
        if ending == "killed" and rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=train, args=(rank, cfg, cfg.ending)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    if any(process.exitcode for process in ranks):
        raise RuntimeError("a rank has died")


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("arguments", [["x=2"], ["-m", "x=2"]], ids=["single run", "sweep"])
@pytest.mark.parametrize(("ending", "code"), [("returned", 0), ("killed", 1)])
def test_rank_0_may_be_a_process_that_the_script_spawns(app, arguments, ending, code):
    (app.folder / "train.py").write_text(SPAWNING)

    output = app.train(*arguments, f"+ending={ending}", code=code)

    (path,) = app.folder.glob("results/train/training/*/run.json")
    record = json.loads(path.read_text())
    if ending == "returned":
        assert (record["state"], record["attempt"]) == ("completed", 1)
        assert record["metrics"] == {"rank": 0}
    else:
        assert (record["state"], record["error"]["message"]) == ("failed", "a rank has died")
    assert "taken for dead" not in output
