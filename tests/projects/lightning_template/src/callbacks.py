"""What a trainer calls after each epoch."""

from pathlib import Path


class Checkpoint:
    def __init__(self, dirpath):
        self.dirpath = Path(dirpath)

    def on_epoch_end(self, epoch, metrics):
        self.dirpath.mkdir(parents=True, exist_ok=True)
        (self.dirpath / "last.ckpt").write_text(str(epoch))


class Patience:
    def __init__(self, monitor):
        self.monitor = monitor

    def on_epoch_end(self, epoch, metrics):
        metrics[self.monitor]  # raises if it is not there


class CSV:
    def __init__(self, save_dir, prefix):
        self.path = Path(save_dir, "csv", "metrics.csv")

    def on_epoch_end(self, epoch, metrics):
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a") as file:
            if epoch == 0:
                file.write("epoch," + ",".join(metrics) + "\n")
            file.write(f"{epoch}," + ",".join(map(str, metrics.values())) + "\n")
