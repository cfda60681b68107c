"""Keys and values as text: as short as they can be, and sorted as a reader expects."""

import json
import re
from collections.abc import Mapping, Sequence

_SAYS_NOTHING = ("name", "id", "type", "kind", "_target_")  # the key above says more


def value_text(value: object) -> str:
    """A swept value, as short as it can be and still be read back.

    >>> value_text(0.001), value_text(None), value_text([1, 2]), value_text(1e-05)
    ('0.001', 'None', '[1, 2]', '1e-05')
    """
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, str):
        return " ".join(value.split()) if value.strip() else repr(value)
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """For each dotted key the shortest tail that no other key shares; `model` for `model.name`.

    >>> short_keys(["model.name", "optimizer.lr", "scheduler.lr"])
    {'model.name': 'model', 'optimizer.lr': 'optimizer.lr', 'scheduler.lr': 'scheduler.lr'}
    >>> short_keys(["optimizer", "optimizer.lr"])
    {'optimizer': 'optimizer', 'optimizer.lr': 'lr'}
    """
    plain = {key: key for key in keys}
    for key in keys:
        head, _, tail = key.rpartition(".")
        if head and tail in _SAYS_NOTHING and head not in keys:
            plain[key] = head
    short = {}
    for key, name in plain.items():
        parts = name.split(".")
        for start in range(len(parts) - 1, -1, -1):
            tail = ".".join(parts[start:])
            matches = [
                other for other in plain.values() if other == tail or other.endswith(f".{tail}")
            ]
            if len(matches) == 1:
                break
        short[key] = tail
    return short


def natural_key(value: object) -> list[tuple[int, float, str]]:
    """A key that sorts 2 before 10, in numbers and inside names.

    >>> sorted(["cnn_10", "cnn_2"], key=natural_key)
    ['cnn_2', 'cnn_10']
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [(0, float(value), "")]
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", value_text(value))
    return [
        (0, float(part), "") if part[:1].isdigit() else (1, 0.0, part) for part in parts if part
    ]
