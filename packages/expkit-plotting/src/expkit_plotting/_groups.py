"""Which runs belong together, what to call them, and how each is drawn."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._errors import PlottingError, listed, near_match
from ._palette import CurveStyle, curve_styles, distinct_colours
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
    return tuple(dict.fromkeys(key for run_settings in settings for key in run_settings))


def resolve_keys(names: Sequence[str], keys: Sequence[str]) -> tuple[str, ...]:
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
            problem = "fits several swept keys" if matches else "is no key that was swept"
            raise PlottingError(
                f"group_by: {name!r} {problem}.{near_match(name, keys)} "
                f"Known: {listed(matches or keys)}."
            )
        resolved.append(matches[0])
    return tuple(dict.fromkeys(resolved))


def group_runs(runs: Sequence[Run], keys: Sequence[str] | None) -> list[Group]:
    """Runs with equal values of `keys`, sorted by these values; each run alone for None.

    Labels name only values that differ between the groups. A run that was swept over none of
    the keys, such as a single run beside a grid, stays by itself and comes last.
    """
    if keys is None:
        return [Group(run.name, (run,)) for run in runs]
    alone = []
    runs_by_values: dict[str, list[Run]] = {}
    for run in runs:
        if keys and run.settings.keys().isdisjoint(keys):
            alone.append(run)
            continue
        values = _identity([run.settings.get(key, "–") for key in keys])
        runs_by_values.setdefault(values, []).append(run)
    groups_of_runs = sorted(
        runs_by_values.values(),
        key=lambda members: [natural_key(members[0].settings.get(key, "–")) for key in keys],
    )
    differing = differing_keys([members[0].settings for members in groups_of_runs], keys)
    groups = []
    for members in groups_of_runs:
        first = members[0]
        if differing:
            label = ", ".join(value_text(first.settings.get(key, "–")) for key in differing)
        else:
            label = first.name if len(members) == 1 else f"mean of {len(members)} runs"
        groups.append(Group(label, tuple(members)))
    return [*groups, *(Group(run.name, (run,)) for run in alone)]


def differing_keys(settings: Sequence[Mapping[str, object]], keys: Sequence[str]) -> list[str]:
    """Those of `keys` that do not have one value throughout."""
    return [
        key
        for key in keys
        if len({_identity([run_settings.get(key, "–")]) for run_settings in settings}) > 1
    ]


def _identity(values: Sequence[object]) -> str:
    """Equal for values that a legend could not tell apart, such as 1 and 1.0."""
    numbers = (float, int)
    return json.dumps(
        [float(value) if type(value) in numbers else value for value in values],  # type: ignore[arg-type]
        default=str,
    )


def legend_title(groups: Sequence[Group], keys: Sequence[str] | None) -> str:
    """The names of the values that the labels list: "model, optimizer, lr"."""
    if keys is None:
        return ""
    names = short_keys(swept_keys([run.settings for group in groups for run in group.runs]))
    differing = differing_keys([group.runs[0].settings for group in groups], keys)
    return ", ".join(names.get(key, key) for key in differing)


def legend_label(label: str, *, replace_none: bool) -> str:
    """A label as the legend shows it."""
    return compact_none(label) if replace_none else label


def group_styles(
    groups: Sequence[Group], keys: Sequence[str] | None, palette: str | Sequence[str]
) -> list[CurveStyle]:
    """A colour and a line style for each group, all different.

    Where two or more keys differ, one of them with two to four values shows as the line style
    and the rest as colour, so that the eye can compare along either.
    """
    plain = curve_styles(palette, len(groups))
    if keys is None or len(groups) < 4:
        return plain
    settings = [group.runs[0].settings for group in groups]
    differing = differing_keys(settings, keys)
    if len(differing) < 2:
        return plain
    for key in differing:
        values = [value_text(group_settings.get(key, "–")) for group_settings in settings]
        line_style_values = sorted(set(values), key=natural_key)
        rest = [
            tuple(value_text(group_settings.get(other, "–")) for other in differing if other != key)
            for group_settings in settings
        ]
        colour_values = list(dict.fromkeys(rest))
        colours = distinct_colours(palette, len(colour_values))
        enough_colours = len(set(colours)) == len(colour_values) <= 6
        if 2 <= len(line_style_values) <= 4 and enough_colours:
            return [
                CurveStyle(colours[colour_values.index(others)], line_style_values.index(value))
                for others, value in zip(rest, values, strict=True)
            ]
    return plain
