"""What type checkers make of expkit in code that uses it; `nox -s types_of_users` asks them."""

from pathlib import Path
from typing import assert_type

import pandas as pd
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from expkit_bookkeeping import Bookkeeping, Run, RunRecord, Sink, find_runs, read_run, results
from expkit_hydra import Grid
from expkit_mlflow import MLFlowLogger, SyncReport, sync
from expkit_plotting import PlotMetrics
from expkit_registry import BaseRegistry
from expkit_seed import SeededDataset, isolated_rng, loader_kwargs, rng_state
from expkit_slurm import RunStatus, SlurmManager
from expkit_timer import Timer, Timers

timer = Timer("step")
timers = Timers()


class Models(BaseRegistry[nn.Module]):
    """A table of one kind of object."""


@Models.register("net")
class Net(nn.Module):
    """A registered class is still itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


@timer
def step(width: int, *, name: str = "a") -> list[int]:
    """A timed function keeps its signature."""
    return [width, len(name)]


@timers("step")
async def asynchronous_step(width: int) -> str:
    """So does a coroutine function."""
    return str(width)


@isolated_rng(1)
def draw(width: int) -> Tensor:
    """So does one in which random numbers may be drawn."""
    return torch.rand(width)


def build(cfg: DictConfig) -> None:
    """A registry gives what it holds."""
    assert_type(Models.build(cfg.model), nn.Module)
    assert_type(Models.build("net", width=1), nn.Module)
    assert_type(Net(1), Net)


async def call() -> None:
    """Decorators change no types."""
    assert_type(step(1, name="b"), list[int])
    assert_type(await asynchronous_step(1), str)
    assert_type(draw(1), Tensor)


def load(data: TensorDataset) -> None:
    """A seeded dataset is a dataset of the same samples."""
    seeded = SeededDataset(data, seed=1)
    dataset: Dataset[tuple[Tensor, ...]] = seeded
    loader = DataLoader(seeded, batch_size=8, sampler=seeded.sampler(), **loader_kwargs(1))
    assert_type(dataset[0], tuple[Tensor, ...])
    assert_type(loader, DataLoader[tuple[Tensor, ...]])
    rng_state(generators={"loader": loader.generator})


def record(cfg: DictConfig) -> None:
    """Blocks give the objects that they open."""
    sink: Sink = MLFlowLogger.from_config(cfg)
    with Bookkeeping.from_config(cfg, sinks=[sink, MLFlowLogger("digits")]) as run:
        assert_type(run, Bookkeeping)
        for epoch in range(run.resume(model=Net(1)), 3):
            with timer:
                run.log_metrics({"loss": torch.zeros(())}, step=epoch)
        run.save_timer(timer)
        run.save_timer(timers)
    with MLFlowLogger("digits") as tracking:
        assert_type(tracking, MLFlowLogger)
    with timer as running, timers("epoch") as child:
        assert_type(running, Timer)
        assert_type(child, Timer)


def read(text: str, path: Path) -> None:
    """A path is text or a Path."""
    for experiment in (text, path):
        frame: pd.DataFrame = results(experiment)
        print(frame)
        assert_type(find_runs(experiment), list[RunRecord])
        assert_type(read_run(experiment), RunRecord | None)
        assert_type(sync(experiment), SyncReport)
        assert_type(PlotMetrics(experiment).metric("loss", save_to=experiment), Figure)
        assert_type(SlurmManager.attach(experiment).status(), list[RunStatus])
        Grid.load(experiment)
    assert_type(Run(text, "cnn_1").load_model(Net(1), "best"), Net)
