"""Seeds as values: checked, and derived so that no two streams are the same. Pure functions."""

from collections.abc import Sequence
from operator import index

LARGEST_SEED = 2**32 - 1  # what numpy.random.seed takes
LONGEST_DECIMAL = 4096  # bits; beyond 4300 digits Python refuses to write a number


def check_seed(seed: object, name: str = "seed") -> int:
    """The seed as a plain integer.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it lies outside 0..2**32-1.
    """
    number = check_integer(seed, name)
    if not 0 <= number <= LARGEST_SEED:
        is_long = number.bit_length() > LONGEST_DECIMAL
        shown = f"a number of {number.bit_length()} bits" if is_long else str(number)
        raise ValueError(
            f"{name} must lie in 0..{LARGEST_SEED} (2**32-1, numpy's largest), got {shown}. "
            f"derive_seed(0, {name if is_long else number}) makes a seed of any integer."
        )
    return number


def check_integer(value: object, name: str) -> int:
    """A plain integer, also from numpy's and torch's.

    Raises:
        TypeError: If it is no integer.
    """
    # True is an integer to Python and a mistake to us; 1.0 is often a YAML slip.
    if not isinstance(value, bool):
        try:
            return index(value)  # type: ignore[arg-type]
        except (TypeError, RuntimeError):
            pass
    text = f"{name} must be an integer, got {value!r} ({type(value).__name__})"
    if name == "seed" and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        text += (
            ". A run has one seed; a list in hydra.sweeper.params is swept where the defaults list "
            "has expkit's line: [expkit, …, _self_]"
        )
    raise TypeError(text)


def check_rank(rank: object) -> int:
    """The rank as a plain integer.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is negative.
    """
    number = check_integer(rank, "rank")
    if number < 0:
        raise ValueError(f"rank must be 0 or more, got {number}")
    return number


def derive_seed(base: int, *names: str | int) -> int:
    """A seed for one purpose, independent of those for all others.

    Adding numbers would make seed 1 of worker 1 equal seed 2 of worker 0; here the first 32 bits of
    SHA-256 over all parts are taken. The same parts give the same seed on every machine, in every
    version.

    Args:
        base: The experiment's seed, 0..2**32-1.
        names: What the stream is for; `1` and `"1"` differ.

    Returns:
        A seed in 0..2**32-1.

    Raises:
        TypeError: If a part is neither text nor integer.
        ValueError: If `base` is out of range.

    >>> derive_seed(1, "worker", 1)
    1903082121
    >>> derive_seed(1, "worker", 1) == derive_seed(2, "worker", 0)
    False
    """
    from hashlib import sha256

    parts = [f"i{check_seed(base, 'base')}"]
    for name in names:
        # The length in front keeps ("ab", "c") and ("a", "bc") apart.
        if isinstance(name, str):
            parts.append(f"s{len(name)}:{name}")
        else:
            parts.append(_integer_part(check_integer(name, "a name that is no text")))
    digest = sha256("|".join(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")


def _integer_part(number: int) -> str:
    return f"i{number}" if number.bit_length() <= LONGEST_DECIMAL else f"x{number:x}"


def sample_seed(seed: int, *, epoch: int, index: int | str, rank: int = 0) -> int:
    """A seed for the random numbers of one sample in one epoch, whatever worker draws them.

    `numpy.random.default_rng(sample_seed(seed, epoch=epoch, index=i))` inside a dataset makes its
    augmentation equal after a resume; `SeededDataset` does it for any dataset.

    Args:
        seed: The experiment's seed.
        epoch: From 0.
        index: The sample's index or key in the dataset.
        rank: Of the process in distributed training.

    Raises:
        TypeError: If a part is no integer (an index may be text).
        ValueError: If `seed` or `rank` is out of range.
    """
    return derive_seed(seed, "sample", check_rank(rank), check_integer(epoch, "epoch"), index)
