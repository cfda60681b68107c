"""A small training in which a chosen system call kills it or fails; see the fixture `trainer`.

Reads jobs as JSON lines: the run's folder, options of `train`, where to die or fail. Each job runs
in a fork of this process, as importing torch takes a second. Writes one line per job: how it ended,
with which error, and how many of the calls it made.
"""

import contextlib
import itertools
import json
import os
import random
import resource
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from expkit_bookkeeping import Bookkeeping, RunSettings
from expkit_mlflow import MLFlowLogger
from expkit_timer import Timer

CALLS = ("write", "fsync", "link", "replace", "rename", "unlink", "ftruncate", "truncate")
BATCHES = 3


def train(
    folder,
    *,
    per_batch=False,
    every=1,
    background=False,
    workers=0,
    persistent=False,
    rising=True,
    epochs=4,
    noise=0.0,
):
    """Train for a few epochs; the metric rises, or is best in the second epoch."""
    random.seed(1)
    torch.manual_seed(1)
    data = TensorDataset(torch.arange(4.0 * BATCHES).reshape(-1, 1).repeat(1, 3))
    loader = DataLoader(
        data,
        4,
        shuffle=True,
        num_workers=workers,
        persistent_workers=persistent,
        generator=torch.Generator().manual_seed(5),
    )
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters())
    objects = {"model": model, "optimizer": optimizer, "loader": loader}
    timer = Timer("epoch")
    with Bookkeeping(
        folder,
        config={"experiment_id": Path(folder).parent.parent.name, "lr": 0.001},
        sinks=[MLFlowLogger()],
        settings=RunSettings(metric="acc", direction="maximize", epochs=epochs),
        console=False,
    ) as run:
        run.save_timer(timer)
        for epoch in range(run.resume(**objects), epochs):
            with timer:
                for number, (batch,) in enumerate(loader):
                    loss = model(batch).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    if per_batch:
                        step = epoch * BATCHES + number
                        run.log_metrics({"loss": loss.item(), "first": batch[0, 0]}, step=step)
            accuracy = epoch / 10 if rising or epoch != 1 else 0.9
            run.log_metrics({"acc": accuracy + noise * random.SystemRandom().random()}, step=epoch)
            if epoch % every == every - 1 or epoch == epochs - 1:
                run.save_checkpoint(epoch, **objects, background=background)


def strike_at(
    *, call=None, name=None, target=None, after=False, delay_s=0.0, error=None, times=1, limit=None
):
    """Let this process be killed at its n-th call, or at one of this name with this target.

    With `error`, a number of errno, that call fails instead, and so do the `times - 1` after it.
    No file can grow beyond `limit` bytes.
    """
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    owner, count = os.getpid(), itertools.count()

    def die():
        if delay_s:
            signal.setitimer(signal.ITIMER_REAL, delay_s)  # SIGALRM ends it just as suddenly
        else:
            os.kill(owner, signal.SIGKILL)
            signal.pause()

    def watched(function, function_name):
        def call_or_die(*args, **kwargs):
            if os.getpid() != owner:  # a worker of the loader
                return function(*args, **kwargs)
            number = next(count)
            if error is not None and call <= number < call + times:
                # As the system does: of a call with a descriptor it names no path.
                paths = [] if isinstance(args[0], int) else args[:1]
                raise OSError(error, os.strerror(error), *paths)
            hits = (error is None and number == call) or (
                function_name == name and any(target in Path(str(arg)).name for arg in args)
            )
            if hits and not after:
                die()
            result = function(*args, **kwargs)
            if hits and after:
                die()
            return result

        return call_or_die

    for function_name in CALLS:
        setattr(os, function_name, watched(getattr(os, function_name), function_name))
    return count


def in_child(folder, options, strike):
    """Train in a fork; returns how it ended and the number of calls."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        count, send, error = iter([0]), os.write, None
        try:
            os.close(read)
            os.setpgid(0, 0)
            count = strike_at(**strike)
            train(folder, **options)
            code = 0
        except OSError as problem:  # which may be meant
            error = [type(problem).__name__, str(problem)]
        except BaseException as problem:
            error = [type(problem).__name__, str(problem)]
            traceback.print_exc()
        finally:
            send(write, json.dumps([next(count), error]).encode())
            os._exit(code)
    os.close(write)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # the loader's workers, which would notice it in seconds
    said = b""
    while part := os.read(read, 1000):
        said += part
    os.close(read)
    calls, error = json.loads(said or "[0, null]")
    return {"code": code, "calls": calls, "error": error}


if __name__ == "__main__":
    os.environ["EXPKIT_GRID"] = "grids/none"  # so that the test syncs, and no run by itself
    torch.set_num_threads(1)
    import_module("torch._dynamo")  # or each fork would import it with the first optimizer
    for line in sys.stdin:
        print(json.dumps(in_child(*json.loads(line))), flush=True)
