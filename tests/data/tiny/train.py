"""A tiny training that uses all that a results folder may hold."""

import os
import signal
import sys
import time

import hydra
import torch

from expkit_bookkeeping import Bookkeeping
from expkit_mlflow import MLFlowLogger
from expkit_seed import set_seed
from expkit_timer import Timer


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    set_seed(cfg.seed)
    model = torch.nn.Linear(2, cfg.model.width)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    timer = Timer("epoch")
    with Bookkeeping.from_config(cfg, sinks=[MLFlowLogger.from_config(cfg)]) as run:
        run.save_timer(timer)
        run.save_model_summary(model, input_size=(1, 2))
        start = run.resume(model=model, optimizer=optimizer)
        for epoch in range(start, cfg.epochs):
            with timer:
                loss = model(torch.ones(4, 2)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            run.log_metrics({"loss": loss.item(), "val/acc": 1 / (1 + loss.item())}, step=epoch)
            run.save_checkpoint(epoch, model=model, optimizer=optimizer)
            if cfg.fail_at == epoch:
                raise ValueError("the loss is not a number\nsecond line")
            if os.environ.get("KILL_AT") == str(epoch):
                time.sleep(1.5)
                os.kill(os.getpid(), signal.SIGKILL)
            if run.should_stop():
                return
        run.save_results({"acc": 0.5, "confusion": [[1, 2], [3, 4]]}, "test")
        (run.folder / "picture.txt").write_text("not really one\n")
        run.log_artifact("picture.txt")
        run.log(f"argv {len(sys.argv)}")


if __name__ == "__main__":
    main()
