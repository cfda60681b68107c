"""A small training with every source of randomness; run by the tests, also to be killed."""

import contextlib
import json
import os
import random
import signal
import sys
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from expkit_bookkeeping import Bookkeeping


class Noisy(Dataset):
    """Each sample is augmented by all three libraries."""

    def __len__(self):
        return 24

    def __getitem__(self, index):
        noise = torch.randn(4) + float(np.random.rand()) + random.random()
        return torch.full((4,), index / 24) + noise, index % 3


@dataclass
class Trained:
    start: int
    model: dict
    optimizer: str


def train(
    folder,
    *,
    workers,
    generator,
    epochs=4,
    total=None,
    stateful=False,
    save_at=None,
    kill_in=None,
    background=False,
):
    torch.set_num_threads(1)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    loader_class = DataLoader
    if stateful:
        from torchdata.stateful_dataloader import StatefulDataLoader as loader_class
    loader = loader_class(
        Noisy(),
        4,
        shuffle=True,
        num_workers=workers,
        generator=torch.Generator().manual_seed(5) if generator else None,
    )
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=np.float64(0.01))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=total or epochs)
    scaler = torch.amp.GradScaler("cpu")
    objects = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "scaler": scaler,
        "loader": loader,
    }
    with Bookkeeping(folder, console=False) as run:
        start = run.resume(**objects, loss=0.0)
        for epoch in range(start, epochs):
            batch = start.batch if epoch == start else 0
            loss_sum = start.extra["loss"] if batch else 0.0
            for inputs, labels in loader:
                loss = nn.functional.cross_entropy(model(inputs), labels)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                loss_sum += loss.item()
                batch += 1
                if save_at == [epoch, batch]:
                    run.save_checkpoint(epoch, **objects, batch=batch, loss=loss_sum)
                if kill_in == epoch and batch == 4:
                    os.kill(os.getpid(), signal.SIGKILL)
            scheduler.step()
            run.log_metrics({"loss": loss_sum}, step=epoch)
            run.save_checkpoint(epoch, **objects, loss=loss_sum, background=background)
    return Trained(start, model.state_dict(), repr(optimizer.state_dict()))


def large_model():
    return nn.Linear(1000, 1000)


def save_only(folder, background=False):
    model = large_model()
    with Bookkeeping(folder, console=False) as run:
        for epoch in range(10_000):
            nn.init.constant_(model.weight, epoch)
            run.save_checkpoint(epoch, model=model, background=background)
            if epoch == 0:
                run.wait_for_checkpoint()
                # One write: print makes two, and between them another child's line may come.
                os.write(1, f"{json.dumps([folder, os.getpid()])}\n".encode())


def train_unheard(folder, options):
    # Workers of a killed run live on for seconds and would keep the caller's pipe open.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    train(folder, **options)


def in_child(function, *args):
    """Call it in a fork, as importing torch again for each run takes seconds."""
    child = os.fork()
    if child == 0:
        try:
            function(*args)
        finally:
            os._exit(0)
    return child


if __name__ == "__main__":
    if sys.argv[1].startswith("save"):
        background = sys.argv[1] == "save-background"
        children = [in_child(save_only, folder, background) for folder in sys.argv[2:]]
    else:
        jobs = json.loads(sys.argv[2])
        # Or each child would spend seconds on what the first step of an optimizer imports.
        import_module("torch._dynamo")
        with contextlib.suppress(ImportError):
            import_module("torchdata.stateful_dataloader")
        children = [in_child(train_unheard, *job) for job in jobs.items()]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if sys.argv[1] == "train":
        print(json.dumps(codes))
