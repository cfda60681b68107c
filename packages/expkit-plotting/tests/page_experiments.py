"""Experiments as Bookkeeping writes them."""

from pathlib import Path


def train(
    experiment: Path,
    name: str,
    swept: dict[str, object],
    metrics: dict[str, list[float]],
    *,
    error: BaseException | None = None,
    extra: dict[str, object] | None = None,
    results: dict[str, object] | None = None,
) -> Path:
    """A run, as a script trains it."""
    from expkit_bookkeeping import Bookkeeping

    config = {
        **swept,
        "epochs": 8,
        **(extra or {}),
        "expkit": {"metric": "val/acc", "direction": "maximize"},
    }
    folder = experiment / "training" / name
    try:
        with Bookkeeping(folder, config=config, swept=swept, console=False) as book:
            for step in range(max(map(len, metrics.values()), default=0)):
                row = {key: values[step] for key, values in metrics.items() if step < len(values)}
                book.log_metrics(row, step=step)
            for key, data in (results or {}).items():
                book.save_results(data, key)
            if error is not None:
                raise error
    except BaseException as raised:
        if raised is not error:
            raise
    return folder


def curves_of(quality: float) -> dict[str, list[float]]:
    steps = range(8)
    return {
        "loss": [2.0 * (1 - quality) ** step + 0.1 for step in steps],
        "val/acc": [quality * (1 - 0.5**step) + 0.01 * (step % 2) for step in steps],
    }
