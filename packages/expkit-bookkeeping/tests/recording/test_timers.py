"""Timers of a run: what timer.yaml and the sinks hold of all attempts, however they ended."""

import os
import signal
from pathlib import Path

import pytest
import yaml

from expkit_bookkeeping import Bookkeeping, ClaimLost, read_run

if "torch" in os.environ.get("EXPKIT_REQUIRE", "").split(","):
    import torch
else:
    torch = pytest.importorskip("torch")


class Counter:
    """Saves as expkit-timer does: its own attempt beside those of others, and the total."""

    def __init__(self, name: str = "epoch") -> None:
        self.name = name
        self.count = 0
        self.id = os.urandom(4).hex()
        self.saves = 0

    def to_dict(self):
        return {"count": self.count}

    def save(self, path):
        self.saves += 1
        content = yaml.safe_load(path.read_text()) if path.exists() else {}
        attempts = {
            attempt["id"]: attempt for attempt in content.get(self.name, {}).get("attempts", [])
        }
        attempts[self.id] = {"id": self.id, "count": self.count}
        total = sum(attempt["count"] for attempt in attempts.values())
        content[self.name] = {"count": total, "attempts": list(attempts.values())}
        path.write_text(yaml.safe_dump(content))


class Sink:
    """Keeps the statistics that it gets at the end."""

    def __init__(self) -> None:
        self.ends: list[object] = []

    def open(self, run, config): ...

    def log_metrics(self, metrics, step, time): ...

    def log_artifact(self, path): ...

    def log_timer(self, name, statistics):
        self.ends.append((name, dict(statistics)))

    def flush(self): ...

    def close(self, state):
        self.ends.append(state)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "digits" / "training" / "run"


def counted(folder: Path, name: str = "epoch") -> int:
    return yaml.safe_load((folder / "timer.yaml").read_text())[name]["count"]


def train(folder, epochs=14, *, at=None, end=None, sinks=()):
    """Train as examples/digits.py does; `end` is called in epoch `at`, between its two halves."""
    model = torch.nn.Linear(2, 2)
    timer = Counter()
    with Bookkeeping(folder, sinks=sinks, console=False) as run:
        run.save_timer(timer)
        for epoch in range(run.resume(model=model), epochs):
            timer.count += 1
            if epoch == at:
                end()
            run.save_checkpoint(epoch, model=model)
            if run.should_stop():
                return


def fail():
    raise ValueError("out of memory")


def test_each_epoch_counts_once_however_the_attempts_end(folder):
    train(folder, at=3, end=lambda: os.kill(os.getpid(), signal.SIGUSR1))  # saved, and left
    assert (read_run(folder).state, counted(folder)) == ("interrupted", 4)

    with pytest.raises(ValueError, match="memory"):  # epoch 6 is timed, and not saved
        train(folder, at=6, end=fail)
    assert (read_run(folder).state, counted(folder)) == ("failed", 7)

    child = os.fork()
    if child == 0:  # epoch 9 too
        try:
            train(folder, at=9, end=lambda: os.kill(os.getpid(), signal.SIGKILL))
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert counted(folder) == 9

    train(folder)
    assert (read_run(folder).state, counted(folder)) == ("completed", 14)
    assert len(yaml.safe_load((folder / "timer.yaml").read_text())["epoch"]["attempts"]) == 4


def test_a_run_that_starts_at_zero_again_forgets_what_was_timed(folder):
    with pytest.raises(ValueError, match="memory"):
        train(folder, at=0, end=fail)
    assert counted(folder) == 1

    train(folder, epochs=2)
    assert counted(folder) == 2


def test_attempts_without_checkpoints_add_up(folder):
    for _ in range(2):
        with Bookkeeping(folder, console=False) as run:
            timer = Counter()
            run.save_timer(timer)
            timer.count = 5

    assert counted(folder) == 10


def test_a_checkpoint_that_knows_of_no_timers_leaves_their_file_alone(folder):
    model, timer = torch.nn.Linear(2, 2), Counter()
    with Bookkeeping(folder, console=False) as run:
        run.save_checkpoint(0, model=model)
        timer.count = 1
        run.save_timer(timer)
    with Bookkeeping(folder, console=False) as run:
        assert run.resume(model=model) == 1

    assert counted(folder) == 1


def test_the_sinks_get_the_totals_once_before_they_are_closed(folder):
    with pytest.raises(ValueError, match="memory"):
        train(folder, at=3, end=fail)
    sink = Sink()
    train(folder, epochs=6, sinks=[sink])

    assert sink.ends == [("epoch", {"count": 6}), "completed"]


def test_a_timer_that_cannot_be_saved_costs_no_checkpoint(folder, capsys):
    class Broken(Counter):
        def save(self, path):
            if self.count:
                raise OSError("no space left")

    model, timer = torch.nn.Linear(2, 2), Broken()
    with Bookkeeping(folder) as run:
        run.save_timer(timer)
        for epoch in range(2):
            timer.count += 1
            run.save_checkpoint(epoch, model=model)

    assert capsys.readouterr().out.count("timer.yaml was not saved: no space left") == 1
    assert read_run(folder).state == "completed"
    assert (folder / "states" / "epoch_0001.pt").exists()


def test_timers_that_are_done_are_not_saved_again(folder):
    model, timers = torch.nn.Linear(2, 2), []
    with Bookkeeping(folder, console=False) as run:
        for epoch in range(5):
            timers.append(Counter(f"epoch {epoch}"))
            timers[-1].count = 1
            run.save_timer(timers[-1])
            run.save_checkpoint(epoch, model=model)

    assert [timer.saves for timer in timers] == [1] * 5


def test_who_lost_the_run_adds_nothing_to_the_timers_of_its_new_owner(folder):
    model, timer = torch.nn.Linear(2, 2), Counter()
    run = Bookkeeping(folder, console=False).open()
    run.save_timer(timer)
    timer.count = 3
    (folder / "claims" / "0002.json").write_text('{"host": "node7", "pid": 1}')

    with pytest.raises(ClaimLost):
        run.save_checkpoint(0, model=model)
    with pytest.raises(ClaimLost):
        run.close()
    assert counted(folder) == 0


def test_other_ranks_save_no_timer(folder):
    with Bookkeeping(folder, rank=1) as run:
        assert run.save_timer(Counter()) == folder / "timer.yaml"

    assert not folder.exists()
