"""Train a small network on scikit-learn's handwritten digits, which come with scikit-learn.

The same file runs on a laptop, in a Slurm array and under a debugger:

    python examples/digits.py model=cnn               one run, never skipped
    python examples/digits.py -m expkit.dry_run=true  what the grid would run
    python examples/digits.py -m                      the grid; again: only what is missing
    torchrun --nproc-per-node 2 examples/digits.py    one run in two processes
"""

import os

import hydra
import torch
import torch.distributed as dist
from omegaconf import DictConfig
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from expkit_bookkeeping import Bookkeeping
from expkit_mlflow import MLFlowLogger
from expkit_registry import BaseRegistry
from expkit_seed import loader_kwargs, set_seed
from expkit_timer import Timer


class Models(BaseRegistry[nn.Module]):
    """Networks for images of shape (batch, 1, 8, 8), ten classes."""


class Optimizers(BaseRegistry[torch.optim.Optimizer]):
    """Optimizers that a configuration may name."""


Optimizers.register("sgd", torch.optim.SGD)
Optimizers.register("adam", torch.optim.Adam)


@Models.register("mlp")
def mlp(width: int, dropout: float = 0.0) -> nn.Module:
    """Two linear layers; `width` hidden units."""
    return nn.Sequential(
        nn.Flatten(),  # (batch, 64)
        nn.Linear(64, width),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width, 10),
    )


@Models.register("cnn")
def cnn(channels: int) -> nn.Module:
    """Two convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (batch, channels, 4, 4)
        nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (batch, 2 * channels, 2, 2)
        nn.Flatten(),
        nn.Linear(8 * channels, 10),
    )


def load_data() -> tuple[TensorDataset, TensorDataset]:
    """1,797 digits as images of shape (1, 8, 8) in 0..1; every fifth one is held out."""
    pixels, digits = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16  # pixels: 0..16
    labels = torch.tensor(digits)
    held_out = torch.arange(len(labels)) % 5 == 0
    return (
        TensorDataset(images[~held_out], labels[~held_out]),
        TensorDataset(images[held_out], labels[held_out]),
    )


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader[tuple[Tensor, ...]],
    device: str,
) -> float:
    """One pass over this process's share of the data; returns the mean loss per image."""
    model.train()
    total, seen = 0.0, 0
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        seen += len(labels)
    return total / seen


@torch.no_grad()
def evaluate(model: nn.Module, data: TensorDataset, device: str) -> float:
    """Share of images that the model labels correctly."""
    model.eval()
    images, labels = data.tensors
    hits = model(images.to(device)).argmax(dim=1).cpu() == labels
    return float(hits.float().mean())


def join_ranks(device: str) -> int:
    """Join the other processes of a run under torchrun or a Slurm task; returns the rank."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    return dist.get_rank()


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(cfg: DictConfig) -> None:
    """Train one network as configured in conf/."""
    torch.set_num_threads(1)  # digits are tiny: more threads would only wait for one another
    rank = join_ranks(cfg.device)
    set_seed(cfg.seed, rank=rank)
    train, dev = load_data()
    sampler: DistributedSampler[tuple[Tensor, ...]] | None = None
    if dist.is_initialized():
        sampler = DistributedSampler(train, seed=cfg.seed)
    loader = DataLoader(
        train,
        cfg.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        **loader_kwargs(cfg.seed, rank),
    )
    model = Models.build(cfg.model).to(cfg.device)
    if dist.is_initialized():
        model = DistributedDataParallel(model)
    optimizer = Optimizers.build(cfg.optimizer, params=model.parameters())
    timer = Timer("epoch")
    with Bookkeeping.from_config(cfg, sinks=[MLFlowLogger.from_config(cfg)]) as run:
        run.save_model_summary(model, input_size=(1, 1, 8, 8))
        run.save_timer(timer)  # from now on with each checkpoint, and however the run ends
        start = run.resume(model=model, optimizer=optimizer, loader=loader)  # 0 on a new run
        for epoch in range(start, cfg.epochs):
            if sampler is not None:
                sampler.set_epoch(epoch)
            with timer:
                loss = train_epoch(model, optimizer, loader, cfg.device)
            accuracy = evaluate(model, dev, cfg.device)
            run.log_metrics({"loss": loss, "val_accuracy": accuracy}, step=epoch)
            run.save_checkpoint(epoch, model=model, optimizer=optimizer, loader=loader)
            # Slurm has warned of the time limit or preemption: all is saved and resumes later.
            if run.should_stop(all_ranks=True):
                return


if __name__ == "__main__":
    main()
