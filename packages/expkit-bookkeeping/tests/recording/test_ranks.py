"""Ranks of a distributed run, in real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from expkit_bookkeeping import process_rank, read_run


def read_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


RANK = """
import sys
import torch.distributed as dist
from expkit_bookkeeping import Bookkeeping
from expkit_bookkeeping.launching import request_stop

dist.init_process_group("gloo")
with Bookkeeping(sys.argv[1], console=False) as run:
    for step in range(100):
        run.log_metrics({"loss": 1.0}, step=step)
        if dist.get_rank() == 1 and step == 3:
            request_stop("SIGUSR1")
        if run.should_stop(all_ranks=True):
            break
print(step)
dist.destroy_process_group()
"""


def test_a_signal_of_one_rank_stops_all_ranks_at_the_same_step(tmp_path):
    pytest.importorskip("torch")
    folder = tmp_path / "exp" / "training" / "run"
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(folder)],
            env={**os.environ, **meeting, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]

    steps = [process.communicate(timeout=120)[0].split()[-1] for process in ranks]

    assert steps == ["3", "3"]
    assert read_run(folder).state == "interrupted"


def test_a_process_of_its_own_asks_nobody(tmp_path):
    from expkit_bookkeeping import Bookkeeping

    with Bookkeeping(tmp_path / "run", console=False) as run:
        assert run.should_stop(all_ranks=True) is False


@pytest.mark.parametrize(
    ("environ", "rank"),
    [
        ({}, 0),
        ({"RANK": "3", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, 3),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "LOCAL_RANK": "0"}, 1),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "1"}, 0),
        ({"OMPI_COMM_WORLD_RANK": "2"}, 2),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, 0),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, 1),
        ({"LOCAL_RANK": "1", "NODE_RANK": "2", "LOCAL_WORLD_SIZE": "4"}, 9),
    ],
)
def test_the_rank_is_what_the_launcher_has_set(environ, rank):
    assert process_rank(environ=environ) == rank


def test_processes_of_lightning_on_several_nodes_have_ranks_of_their_own():
    ranks = [
        process_rank(environ={"LOCAL_RANK": str(local), "NODE_RANK": str(node)})
        for node in range(3)
        for local in range(8)
    ]

    assert ranks[0] == 0
    assert len({*ranks}) == 24


def test_a_rank_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="LOCAL_RANK is 'first'; a rank is a whole number"):
        process_rank(environ={"LOCAL_RANK": "first"})


SPAWNING = """
import sys
import torch.distributed as dist
import torch.multiprocessing as mp
from expkit_bookkeeping import Bookkeeping, process_rank
from expkit_bookkeeping.launching import claim_run


def train(rank, folder, meeting):
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    dist.barrier()  # or a rank may be over before the other has connected to it
    with Bookkeeping(folder, console=False) as run:
        run.log_metrics({"loss": float(process_rank())}, step=0)
        run.log(f"written by rank {dist.get_rank()}")
    dist.destroy_process_group()


if __name__ == "__main__":
    claim = claim_run(sys.argv[1], launches=True) if "launched" in sys.argv else None
    mp.spawn(train, (sys.argv[1], sys.argv[2]), nprocs=2)
    if "launched" in sys.argv:
        assert claim.is_handed_on
    with Bookkeeping(sys.argv[1], console=False) as run:  # once more, for what comes after
        run.save_results({"test_accuracy": 0.5}, "test")
"""


@pytest.mark.parametrize("how", ["alone", "launched"])
def test_rank_0_of_spawned_processes_writes(tmp_path, how):
    """Also in place of a launcher that has claimed the run in the process that spawns them."""
    pytest.importorskip("torch")
    folder = tmp_path / "exp" / "training" / "run"
    script = tmp_path / "train.py"
    script.write_text(SPAWNING)
    command = [sys.executable, script, folder, tmp_path / "meeting", how]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    record = read_run(folder)
    assert (record.state, record.attempt) == ("completed", 1)
    assert [line["metrics"] for line in read_lines(folder / "metrics.jsonl")] == [{"loss": 0.0}]
    assert (folder / "training.log").read_text().count("written by rank") == 1
    assert list((folder / "results").glob("test*"))


NESTED = """
import subprocess, sys
from expkit_bookkeeping import Bookkeeping

if len(sys.argv) < 3:
    with Bookkeeping(sys.argv[1], console=False):
        subprocess.run([sys.executable, __file__, sys.argv[1], "inner"])
else:
    Bookkeeping(sys.argv[1]).open()
"""


def test_a_process_without_a_rank_is_not_told_to_kill_the_one_that_started_it(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(NESTED)
    folder = tmp_path / "exp" / "training" / "run"

    done = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, timeout=60
    )

    assert "That process has started this one." in done.stderr
    assert "Bookkeeping(rank=…)" in done.stderr
    assert "kill" not in done.stderr
    assert read_run(folder).state == "completed"
