"""Which runs belong together, and what to call them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import PlottingError, listed, near_match
from .runs import Run

_SAYS_NOTHING = ("name", "id", "type", "kind", "_target_")  # the key above says more


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that make one curve.

    Attributes:
        label: What tells this group from the others.
        runs: At least one.
    """

    label: str
    runs: tuple[Run, ...]


def repeated_keys(keys: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Those of the keys that only repeat a configuration, the outermost first.

    Examples:
        >>> repeated_keys(["data.fold", "lr", "seed"], ["seed", "fold"])
        ('seed', 'data.fold')
    """
    return tuple(key for name in names for key in keys if key == name or key.endswith(f".{name}"))


def swept_keys(settings: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """All keys that the runs have values for, in the order in which they appear."""
    return tuple(dict.fromkeys(key for run_settings in settings for key in run_settings))


def resolve_keys(
    names: Sequence[str], keys: Sequence[str], *, option: str = "group_by"
) -> tuple[str, ...]:
    """Those of `keys` that `names` name: as the legend does, or by a tail that no other key has.

    Raises:
        PlottingError: For a name of no swept key, or one that fits several.
    """
    resolved = []
    legend_names = short_keys(keys)
    for name in names:
        matches = (
            [key for key in keys if key == name]
            or [key for key in keys if legend_names[key] == name]
            or [key for key in keys if key.endswith(f".{name}")]
        )
        if len(matches) != 1:
            problem = "fits several swept keys" if matches else "is not a swept key"
            raise PlottingError(
                f"{option}: {name!r} {problem}.{near_match(name, keys)} "
                f"Known: {listed(matches or keys)}."
            )
        resolved.append(matches[0])
    return tuple(dict.fromkeys(resolved))


def group_runs(runs: Sequence[Run], keys: Sequence[str] | None) -> list[Group]:
    """Runs with equal values of `keys`, sorted by these values; each run alone for None.

    Labels name only values that differ between the groups. A run that has none of the keys stays
    by itself and comes last.
    """
    if keys is None:
        return [Group(run.name, (run,)) for run in runs]
    alone = []
    runs_by_values: dict[str, list[Run]] = {}
    for run in runs:
        if keys and run.settings.keys().isdisjoint(keys):
            alone.append(run)
            continue
        values = identity([run.settings.get(key, "–") for key in keys])
        runs_by_values.setdefault(values, []).append(run)
    groups_of_runs = sorted(
        runs_by_values.values(),
        key=lambda members: [natural_key(members[0].settings.get(key, "–")) for key in keys],
    )
    differing = differing_keys([members[0].settings for members in groups_of_runs], keys)
    texts = [
        distinct_texts([members[0].settings.get(key, "–") for members in groups_of_runs])
        for key in differing
    ]
    groups = []
    for number, members in enumerate(groups_of_runs):
        first = members[0]
        if differing:
            label = ", ".join(column[number] for column in texts)
        else:
            label = first.name if len(members) == 1 else f"mean of {len(members)} runs"
        groups.append(Group(label, tuple(members)))
    return [*groups, *(Group(run.name, (run,)) for run in alone)]


def repetitions(groups: Sequence[Group], keys: Sequence[str]) -> list[list[tuple[str, ...]]]:
    """For each run of each group its values of the repeated keys, the outermost first.

    Keys that vary within no group are left out: with one seed, it is folds that are counted.

    Args:
        groups: The groups.
        keys: The repeated keys, the outermost first.
    """
    varying = [
        key for key in keys if any(differing_keys([run.settings for run in group.runs], [key])
                                   for group in groups)
    ]  # fmt: skip
    return [
        [tuple(identity([run.settings.get(key, "–")]) for key in varying) for run in group.runs]
        for group in groups
    ]


def differing_keys(settings: Sequence[Mapping[str, object]], keys: Sequence[str]) -> list[str]:
    """Those of `keys` that do not have one value throughout."""
    return [
        key
        for key in keys
        if len({identity([run_settings.get(key, "–")]) for run_settings in settings}) > 1
    ]


def identity(values: Sequence[object]) -> str:
    """Equal for values that are one setting, as 1 and 1.0 are, and None and its text are not."""
    numbers = (float, int)
    return json.dumps(
        [float(value) if type(value) in numbers else value for value in values],  # type: ignore[arg-type]
        default=str,
    )


def sweep_key(value: object, order: Sequence[object]) -> tuple[int, list[tuple[int, float, str]]]:
    """A key that sorts values as a sweep lists them; others come behind, in natural order.

    Examples:
        >>> sorted([10, 2, 0.1, 1], key=lambda value: sweep_key(value, [1, 0.1]))
        [1, 0.1, 2, 10]
    """
    places = [identity([listed_value]) for listed_value in order]
    text = identity([value])
    return places.index(text) if text in places else len(places), natural_key(value)


def in_sweep_order(
    groups: Sequence[Group], keys: Sequence[str] | None, order: Mapping[str, Sequence[object]]
) -> list[Group]:
    """Groups sorted as a sweep lists the values of their keys; single runs stay at the end."""
    if not keys:
        return list(groups)

    def place(group: Group) -> tuple[bool, list[tuple[int, list[tuple[int, float, str]]]]]:
        settings = group.runs[0].settings
        values = [sweep_key(settings.get(key, "–"), order.get(key, ())) for key in keys]
        return settings.keys().isdisjoint(keys), values

    return sorted(groups, key=place)


def legend_title(groups: Sequence[Group], keys: Sequence[str] | None) -> str:
    """The names of the values that the labels list: "model, optimizer, lr"."""
    if keys is None:
        return ""
    names = short_keys(swept_keys([run.settings for group in groups for run in group.runs]))
    differing = differing_keys([group.runs[0].settings for group in groups], keys)
    return ", ".join(names.get(key, key) for key in differing)


def value_text(value: object) -> str:
    """A swept value, as short as it can be and still be read back.

    Examples:
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


def distinct_texts(values: Sequence[object]) -> list[str]:
    """`value_text` of each value; text is quoted where another value reads the same.

    Examples:
        >>> distinct_texts([None, "None", "cnn"]), distinct_texts(["1", "2"])
        (['None', "'None'", 'cnn'], ['1', '2'])
    """
    identities: dict[str, set[str]] = {}
    for value in values:
        identities.setdefault(value_text(value), set()).add(identity([value]))
    return [
        repr(value) if isinstance(value, str) and len(identities[text]) > 1 else text
        for value in values
        for text in [value_text(value)]
    ]


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """For each dotted key the shortest tail that no other key shares; `model` for `model.name`.

    Examples:
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

    Examples:
        >>> sorted(["cnn_10", "cnn_2"], key=natural_key)
        ['cnn_2', 'cnn_10']
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [(0, float(value), "")]
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", value_text(value))
    return [
        (0, float(part), "") if part[:1].isdecimal() else (1, 0.0, part) for part in parts if part
    ]
