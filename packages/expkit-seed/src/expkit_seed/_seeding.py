"""Seeding this process."""

from ._determinism import MODES, set_determinism
from ._optional import installed
from ._streams import check_rank, check_seed, derive_seed


def set_seed(seed: int, *, deterministic: str = "off", rank: int = 0) -> int:
    """Seeds `random`, numpy and torch (all CUDA devices), where they are installed.

    Installed modules are imported, because a module imported later would start unseeded. numpy
    generators made by `default_rng()` have no global seed; give them one of `derive_seed`.

    Args:
        seed: 0..2**32-1.
        deterministic: `off` leaves PyTorch as it was; `warn` chooses repeatable algorithms and
            warns where there is none; `strict` raises there, and switches TF32 off. Both set
            `CUBLAS_WORKSPACE_CONFIG`, which must happen before CUDA is used; both cost speed.
        rank: Of this process in distributed training; rank 0 uses the seed itself, each other one
            derived from it.

    Returns:
        The seed that this process now uses.

    Raises:
        TypeError: If `seed` or `rank` is no integer.
        ValueError: If `seed`, `rank` or `deterministic` is none of the allowed values.
        RuntimeError: If `strict` comes too late: CUDA is in use without a repeatable cuBLAS.

    >>> set_seed(7)
    7
    """
    own = check_seed(seed)
    if check_rank(rank):
        own = derive_seed(own, "rank", rank)
    if deterministic not in MODES:
        hint = ". YAML reads off as false unless it stands in quotes" if not deterministic else ""
        raise ValueError(
            f"deterministic must be one of {', '.join(map(repr, MODES))}, got {deterministic!r}"
            f"{hint}"
        )
    torch = installed("torch")
    if torch is not None:
        set_determinism(deterministic, torch)
    seed_all(own)
    return own


def seed_all(seed: int) -> None:
    """Seeds every global generator with a checked seed."""
    import random

    random.seed(seed)
    numpy = installed("numpy")
    if numpy is not None:
        numpy.random.seed(seed)
    torch = installed("torch")
    if torch is not None:
        torch.manual_seed(seed)  # all devices; those not yet in use when they start
