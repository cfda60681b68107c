"""One run of several processes on several nodes: whatever ends it, it ends as if undisturbed."""

import json
import os
import signal
import time
from functools import partial

import pytest
from workspace import Workspace

pytestmark = pytest.mark.integration
torch = pytest.importorskip("torch")

# Dropout draws on every rank, momentum and the loss depend on all that was before. With the file
# `hold` the run waits after epoch 2 to be disturbed.
SCRIPT = """
import os
import time
from pathlib import Path

import hydra
import torch
import torch.distributed as dist
from expkit_bookkeeping import Bookkeeping
from expkit_seed import loader_kwargs, set_seed
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    Path(f"pid{rank}").write_text(str(os.getpid()))
    set_seed(cfg.seed, rank=rank)
    data = TensorDataset(torch.linspace(-1, 1, 64).reshape(16, 4))
    sampler = DistributedSampler(data, seed=cfg.seed)
    loader = DataLoader(data, 4, sampler=sampler, **loader_kwargs(cfg.seed, rank))
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with Bookkeeping.from_config(cfg) as run:
        start = run.resume(model=model, optimizer=optimizer, loader=loader)
        for epoch in range(start, cfg.epochs):
            sampler.set_epoch(epoch)
            for (batch,) in loader:
                optimizer.zero_grad()
                loss = (model(batch) - 1).pow(2).mean()
                loss.backward()
                optimizer.step()
            run.log_metrics({"loss": loss.item()}, step=epoch)
            if cfg.saves:
                run.save_checkpoint(epoch, model=model, optimizer=optimizer, loader=loader)
            stop = run.should_stop(all_ranks=True)
            Path(f"epoch{epoch}_{rank}").touch()
            while epoch == 2 and Path("hold").exists() and not stop:
                time.sleep(0.05)
                stop = run.should_stop(all_ranks=True)
            if stop:
                break
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: two
seed: 1
epochs: 5
saves: true
expkit: {after: []}
hydra: {sweeper: {params: {seed: [1]}}}
"""
SWEEP = [
    "train.py", "-m", "hydra/launcher=expkit_slurm", "hydra.launcher.tasks_per_run=2",
    "hydra.launcher.nodes=2", "hydra.launcher.mem=600M", "hydra.launcher.poll_s=0.5",
]  # fmt: skip


def write_project(workspace):
    (workspace.folder / "train.py").write_text(SCRIPT)
    (workspace.folder / "config.yaml").write_text(CONFIG)
    script = workspace.folder / "gpu_scripts" / "grid_search_array.sh"
    script.parent.mkdir()
    script.write_text('#!/usr/bin/env bash\nexec "$@"\n')
    return workspace


@pytest.fixture
def project(empty):
    return write_project(empty)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Metrics and weights of the run, from its start to its end under torchrun."""
    project = write_project(Workspace(tmp_path_factory.mktemp("undisturbed")))
    done = project.run("python", "-m", "torch.distributed.run", "--nproc-per-node=2", "train.py")
    assert (done.stdout + done.stderr).count("Run 1 is completed") == 1
    assert record(project)["attempt"] == 1
    return result(project)


def folder_of(project):
    return project.folder / "results" / "two" / "training" / "1"


def record(project):
    return json.loads((folder_of(project) / "run.json").read_text())


def result(project):
    """What a run has logged, and its weights and moments after the last epoch."""
    folder = folder_of(project)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    states = torch.load(sorted((folder / "states").glob("epoch*"))[-1], weights_only=True)["states"]
    numbers = [tensor.tolist() for tensor in states["model"].values()]
    moments = [state["momentum_buffer"].tolist() for state in states["optimizer"]["state"].values()]
    return [(x["step"], x["metrics"]) for x in map(json.loads, lines)], numbers, moments


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def node_of_rank(slurm_cluster, rank):
    (job,) = [job for job in slurm_cluster.jobs() if job.state == "RUNNING"]
    nodes = slurm_cluster.run("squeue", "-h", "-j", job.label, "-o", "%N").strip()
    return slurm_cluster.run("scontrol", "show", "hostnames", nodes).split()[rank]


def lose_node(project, slurm_cluster, rank, *, is_noticed_late=False):
    name = node_of_rank(slurm_cluster, rank)
    slurm_cluster.kill_node(name, jobs=True)
    deadline = time.monotonic() + 60
    # Another rank fails first, as its connection breaks.
    while is_noticed_late and record(project)["state"] == "running":
        assert time.monotonic() < deadline, record(project)
        time.sleep(0.05)
    slurm_cluster.mark_down(name)


def kill_rank(project, slurm_cluster):
    os.kill(int((project.folder / "pid1").read_text()), signal.SIGKILL)


def preempt(project, slurm_cluster):
    node = node_of_rank(slurm_cluster, 1)
    slurm_cluster.run(
        "sbatch", "--partition=high", f"--nodelist={node}", "--cpus-per-task=2", "--mem=100M",
        "--output=/dev/null", "--wrap=sleep 1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("disturb", "again"),
    [
        (kill_rank, True),
        (preempt, False),
        (partial(lose_node, rank=0), False),
        # The failure ends the sweep, unless Slurm has put the run back into the queue before.
        (partial(lose_node, rank=1, is_noticed_late=True), None),
    ],
    ids=["a rank is killed", "preempted", "rank 0's node is lost", "rank 1's node is lost"],
)
def test_a_run_on_two_nodes_ends_as_if_undisturbed(
    project, slurm_cluster, undisturbed, disturb, again
):
    slurm_cluster.reset()
    (project.folder / "hold").touch()
    environment = slurm_cluster.environment
    sweep = project.start("python", *SWEEP, **environment)
    wait_for(lambda: len(list(project.folder.glob("epoch2_*"))) == 2, sweep)
    disturb(project, slurm_cluster)
    output = sweep.communicate(timeout=240)[0]
    if again or (again is None and "1 completed" not in output):
        assert "1 failed" in output, output
        sweep = project.start("python", *SWEEP, **environment)
        output = sweep.communicate(timeout=240)[0]

    assert "1 completed" in output, output
    assert record(project)["attempt"] == 2
    assert result(project) == undisturbed


def test_ranks_that_are_preempted_and_saved_nothing_say_so_and_do_not_repeat_it(
    project, slurm_cluster
):
    slurm_cluster.reset()
    (project.folder / "hold").touch()
    sweep = project.start("python", *SWEEP, "saves=false", **slurm_cluster.environment)
    wait_for(lambda: len(list(project.folder.glob("epoch2_*"))) == 2, sweep)
    preempt(project, slurm_cluster)
    output = sweep.communicate(timeout=120)[0]

    assert "nothing was saved; not requeued" in output, output
    assert (record(project)["state"], record(project)["attempt"]) == ("interrupted", 1)
