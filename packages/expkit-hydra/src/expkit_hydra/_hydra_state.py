"""Hydra's global state, borrowed for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


@contextmanager
def current_config(config: "DictConfig") -> Iterator[None]:
    """Let `${hydra:…}` read this configuration: Hydra itself sets it only inside a job."""
    from hydra.core.hydra_config import HydraConfig

    state = HydraConfig.instance()
    before = state.cfg
    # Not set_config(), which copies the whole node and makes it read-only.
    state.cfg = config  # type: ignore[assignment]
    try:
        yield
    finally:
        state.cfg = before
