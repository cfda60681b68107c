"""Ranks of a distributed run, in real processes."""

import os
import subprocess
import sys

import pytest

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
    from expkit_bookkeeping import read_run

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
