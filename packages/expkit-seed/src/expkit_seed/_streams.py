"""Seeds as values: checked, and derived so that no two streams are the same; pure."""

from collections.abc import Sequence
from operator import index

LARGEST_SEED = 2**32 - 1  # the largest that numpy.random.seed accepts
LONGEST_DECIMAL_BITS = 4096  # Python refuses to write numbers of more than 4300 digits


def check_seed(seed: object, name: str = "seed") -> int:
    """The seed as a plain integer.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is outside 0..2**32-1.
    """
    number = check_integer(seed, name)
    if not 0 <= number <= LARGEST_SEED:
        is_long = number.bit_length() > LONGEST_DECIMAL_BITS
        text = f"a number of {number.bit_length()} bits" if is_long else str(number)
        raise ValueError(
            f"{name} must be in 0..{LARGEST_SEED} (2**32-1, numpy's largest), got {text}. "
            f"derive_seed(0, {name if is_long else number}) turns any integer into a seed."
        )
    return number


def check_integer(value: object, name: str) -> int:
    """The value as a plain integer; numpy's and torch's integers are accepted.

    Raises:
        TypeError: If it is not an integer.
    """
    # True is an integer to Python but a mistake here, and 1.0 is often a slip in YAML.
    if not isinstance(value, bool):
        try:
            return index(value)  # type: ignore[arg-type]
        except (TypeError, RuntimeError):
            pass
    text = f"{name} must be an integer, got {value!r} ({type(value).__name__})"
    if name == "seed" and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        text += (
            ". A run has one seed. A list in hydra.sweeper.params is swept only if the defaults "
            "list names expkit: [expkit, …, _self_]"
        )
    raise TypeError(text)


def check_rank(rank: object) -> int:
    """The rank as a plain integer.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is negative.
    """
    number = check_integer(rank, "rank")
    if number < 0:
        raise ValueError(f"rank must be 0 or more, got {number}")
    return number


def derive_seed(base: int, *names: str | int) -> int:
    """A seed for one purpose, independent of the seeds for all other purposes.

    With addition, seed 1 of worker 1 would equal seed 2 of worker 0. This seed is the first 32
    bits of SHA-256 over all parts: the same on every machine and in every version.

    Args:
        base: The experiment's seed, 0..2**32-1.
        names: What the stream is for; `1` and `"1"` differ.

    Returns:
        A seed in 0..2**32-1.

    Raises:
        TypeError: If a part is neither a string nor an integer.
        ValueError: If `base` is out of range.

    Examples:
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
            parts.append(_integer_part(check_integer(name, "a name that is not a string")))
    digest = sha256("|".join(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")


def _integer_part(number: int) -> str:
    return f"i{number}" if number.bit_length() <= LONGEST_DECIMAL_BITS else f"x{number:x}"


def sample_seed(seed: int, *, epoch: int, index: int | str, rank: int = 0) -> int:
    """A seed for the random numbers of one sample in one epoch, whichever worker draws them.

    With `numpy.random.default_rng(sample_seed(seed, epoch=epoch, index=i))` in a dataset, its
    augmentation is the same after a resume; `SeededDataset` does this for any dataset.

    Args:
        seed: The experiment's seed.
        epoch: From 0.
        index: The sample's index or key in the dataset.
        rank: Of the process in distributed training.

    Raises:
        TypeError: If a part is not an integer (an index may be a string).
        ValueError: If `seed` or `rank` is out of range.
    """
    return derive_seed(seed, "sample", check_rank(rank), check_integer(epoch, "epoch"), index)
