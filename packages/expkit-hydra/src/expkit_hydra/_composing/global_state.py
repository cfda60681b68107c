"""Global state of Hydra and OmegaConf, borrowed for the length of a block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from .internals import metadata_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omegaconf import DictConfig


@contextmanager
def current_config(config: DictConfig) -> Iterator[None]:
    """Let `${hydra:…}` read this configuration, which Hydra itself sets only within a job."""
    from hydra.core.hydra_config import HydraConfig

    state = HydraConfig.instance()
    before = state.cfg
    # Not set_config(), which copies the whole node and makes it read-only.
    state.cfg = config  # type: ignore[assignment]
    try:
        yield
    finally:
        state.cfg = before


@contextmanager
def answers_of_one_run(config: DictConfig) -> Iterator[None]:
    """Let resolvers with a cache know nothing from before, and forget their answers afterwards.

    OmegaConf keeps an answer under the text of the arguments: the one to `${square:${width}}` for
    one run would be given to all. Only the time, `${now:…}`, is the same for all.
    """
    metadata = metadata_of(config)
    before = metadata.resolver_cache
    metadata.resolver_cache = defaultdict(dict, now=before["now"])
    try:
        yield
    finally:
        metadata.resolver_cache = before
