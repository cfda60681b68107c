"""Which runs belong together, what to call them, and how each is drawn."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._errors import PlottingError, listed, near_match
from ._palette import hues, looks
from ._runs import Run
from ._sources import natural_key
from ._text import compact_none, short_keys, value_text

# Repetitions of one configuration; runs that differ in nothing else are averaged.
REPETITIONS = ("seed",)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that make one curve.

    Attributes:
        label: What tells this group from the others.
        runs: At least one.
    """

    label: str
    runs: tuple[Run, ...]


def is_repetition(key: str) -> bool:
    """Whether a key only repeats a configuration: `seed`, `cfg.seed`."""
    return key.rpartition(".")[2] in REPETITIONS


def swept_keys(settings: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """All keys that the runs were swept over, in the order in which they appear."""
    return tuple(dict.fromkeys(key for each in settings for key in each))


def resolve_keys(wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Full names of keys, given as the legend calls them or by a tail that no other key shares.

    Raises:
        PlottingError: For a key that no run was swept over, or that fits several.
    """
    found = []
    shown = short_keys(known)
    for key in wanted:
        ends = (
            [each for each in known if each == key]
            or [each for each in known if shown[each] == key]
            or [each for each in known if each.endswith(f".{key}")]
        )
        if len(ends) != 1:
            problem = "fits several swept keys" if ends else "is no key that was swept"
            raise PlottingError(
                f"group_by: {key!r} {problem}.{near_match(key, known)} "
                f"Known: {listed(ends or known)}."
            )
        found.append(ends[0])
    return tuple(dict.fromkeys(found))


def group(runs: Sequence[Run], keys: Sequence[str] | None) -> list[Group]:
    """Runs with equal values of `keys`, sorted by these values; each run alone for None.

    Labels name only values that differ between the groups. A run that was swept over none of
    the keys, such as a single run beside a grid, stays by itself and comes last.
    """
    if keys is None:
        return [Group(run.name, (run,)) for run in runs]
    alone = []
    found: dict[str, list[Run]] = {}
    for run in runs:
        if keys and run.settings.keys().isdisjoint(keys):
            alone.append(run)
            continue
        found.setdefault(_identity([run.settings.get(key, "–") for key in keys]), []).append(run)
    members = sorted(
        found.values(),
        key=lambda each: [natural_key(each[0].settings.get(key, "–")) for key in keys],
    )
    differing = differing_keys([each[0].settings for each in members], keys)
    groups = []
    for each in members:
        if differing:
            label = ", ".join(value_text(each[0].settings.get(key, "–")) for key in differing)
        else:
            label = each[0].name if len(each) == 1 else f"mean of {len(each)} runs"
        groups.append(Group(label, tuple(each)))
    return [*groups, *(Group(run.name, (run,)) for run in alone)]


def differing_keys(settings: Sequence[Mapping[str, object]], keys: Sequence[str]) -> list[str]:
    """Those of `keys` that do not have one value throughout."""
    return [key for key in keys if len({_identity([each.get(key, "–")]) for each in settings}) > 1]


def _identity(values: Sequence[object]) -> str:
    """Equal for values that a legend could not tell apart, such as 1 and 1.0."""
    numbers = (float, int)
    return json.dumps(
        [float(it) if type(it) in numbers else it for it in values],  # type: ignore[arg-type]
        default=str,
    )


def legend_title(groups: Sequence[Group], keys: Sequence[str] | None) -> str:
    """The names of the values that the labels list: "model, optimizer, lr"."""
    if keys is None:
        return ""
    names = short_keys(swept_keys([run.settings for each in groups for run in each.runs]))
    differing = differing_keys([each.runs[0].settings for each in groups], keys)
    return ", ".join(names.get(key, key) for key in differing)


def legend_label(label: str, *, replace_none: bool) -> str:
    """A label as the legend shows it."""
    return compact_none(label) if replace_none else label


def group_looks(
    groups: Sequence[Group], keys: Sequence[str] | None, palette: str | Sequence[str]
) -> list[tuple[str, int]]:
    """A colour and a line style for each group, all different.

    Where two or more keys differ, one of them with two to four values shows as the line style
    and the rest as colour, so that the eye can compare along either.
    """
    plain = looks(palette, len(groups))
    if keys is None or len(groups) < 4:
        return plain
    settings = [each.runs[0].settings for each in groups]
    differing = differing_keys(settings, keys)
    if len(differing) < 2:
        return plain
    for key in differing:
        values = [value_text(each.get(key, "–")) for each in settings]
        styles = sorted(set(values), key=natural_key)
        rest = [
            tuple(value_text(each.get(other, "–")) for other in differing if other != key)
            for each in settings
        ]
        others = list(dict.fromkeys(rest))
        colours = hues(palette, len(others))
        if 2 <= len(styles) <= 4 and len(set(colours)) == len(others) <= 6:
            return [
                (colours[others.index(other)], styles.index(value))
                for other, value in zip(rest, values, strict=True)
            ]
    return plain
