"""Seeding this process."""

from ._determinism import MODES, set_determinism
from ._optional import import_installed
from ._streams import check_rank, check_seed, derive_seed


def set_seed(seed: int, *, deterministic: str = "off", rank: int = 0) -> int:
    """Seed `random`, and numpy and torch (all CUDA devices) if they are installed.

    Installed modules are imported, because a module imported later would start unseeded. numpy
    generators made by `default_rng()` have no global seed; give each one from `derive_seed`.

    Args:
        seed: 0..2**32-1.
        deterministic: `off` leaves PyTorch as it was. `warn` chooses deterministic algorithms and
            warns where there is none; `strict` raises there, and turns TF32 off. Both set
            `CUBLAS_WORKSPACE_CONFIG`, which must happen before CUDA is used, and both cost speed.
        rank: Of this process in distributed training. Rank 0 uses the seed itself, each other
            rank one derived from it.

    Returns:
        The seed that this process now uses.

    Raises:
        TypeError: If `seed` or `rank` is not an integer.
        ValueError: If `seed`, `rank` or `deterministic` is not an allowed value.
        RuntimeError: If `strict` comes too late: CUDA is in use and cuBLAS is not deterministic.

    Examples:
        >>> set_seed(7)
        7
    """
    seed = check_seed(seed)
    if check_rank(rank):
        seed = derive_seed(seed, "rank", rank)
    if deterministic not in MODES:
        hint = ". YAML reads off as false unless it is quoted" if not deterministic else ""
        raise ValueError(
            f"deterministic must be one of {', '.join(map(repr, MODES))}, got {deterministic!r}"
            f"{hint}"
        )
    torch = import_installed("torch")
    if torch is not None:
        set_determinism(deterministic, torch)
    seed_all(seed)
    return seed


def seed_all(seed: int) -> None:
    """Seed every global generator; the seed has been checked."""
    import random

    random.seed(seed)
    numpy = import_installed("numpy")
    if numpy is not None:
        numpy.random.seed(seed)
    torch = import_installed("torch")
    if torch is not None:
        torch.manual_seed(seed)  # all devices; those not in use yet are seeded when they start
