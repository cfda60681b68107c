"""How every area is measured: contenders in interleaved rounds, one table, one JSON file.

Timings on a shared machine drift by 50 % within minutes, so the contenders of a case take turns,
round after round, and only ratios within one case are worth comparing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tables import area_table

PEERS = (
    "codetiming",
    "hydra-core",
    "hydra-filter-sweeper",
    "hydra-submitit-launcher",
    "lightning",
    "matplotlib",
    "mlflow",
    "plotly",
    "seaborn",
    "torch",
)


@dataclass(frozen=True)
class Bar:
    """A target for the median of a contender in its case.

    The target is in the area's unit, unless `times` or `over` names a contender of the same case:
    then it is for the ratio to that one, or for the difference. `figure` is the heading of the
    figure, if it is not the main one.
    """

    at_most: float | None = None
    at_least: float | None = None
    times: str | None = None
    over: str | None = None
    figure: str | None = None

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self} needs either at_most or at_least.")
        if self.times is not None and self.over is not None:
            raise ValueError(f"{self} compares in two ways.")


@dataclass(frozen=True)
class Verdict:
    """Whether a bar is met."""

    limit: str  # "≤ 30"
    beside: str  # "over bare Python", or empty
    value: float | None  # None if the other contender was left out
    met: bool | None
    unit: str | None = None  # None for the area's


@dataclass(frozen=True)
class Contender:
    """Something to measure, and what it is compared with.

    `measure` returns one repeat in the area's unit, or that and other figures by their heading.
    `floor` is the least that the task can cost, `peer` what users would use instead; both are
    names of contenders of the same case.
    """

    name: str
    measure: Callable[[], float | tuple[float, dict[str, float]]]
    floor: str | None = None
    peer: str | None = None
    bars: Sequence[Bar] = ()
    repeats: int | None = None  # fewer rounds, for what takes minutes


@dataclass(frozen=True)
class Row:
    """One contender in one case; figures are in the area's unit."""

    case: str
    name: str
    median: float
    least: float
    most: float
    repeats: int
    floor: str | None = None
    over_floor: float | None = None  # difference of the medians
    to_floor: float | None = None  # ratio of the medians
    peer: str | None = None
    to_peer: float | None = None  # below 1: less than the peer
    others: dict[str, float] = field(default_factory=dict)  # medians
    bars: list[Verdict] = field(default_factory=list)


def options(description: str | None) -> argparse.Namespace:
    """The command line that all areas share."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller cases")
    parser.add_argument("--json", type=Path, default=Path("build", "benchmarks"), metavar="DIR")
    return parser.parse_args()


def measure(case: str, contenders: Sequence[Contender], repeats: int) -> list[Row]:
    """Time all contenders in turn, in another order in each of the `repeats` rounds."""
    samples: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    others: dict[str, dict[str, list[float]]] = {contender.name: {} for contender in contenders}
    order = random.Random(0)
    for _ in range(repeats):
        # Shuffled, because the contender after a large one has cold caches.
        for contender in order.sample(contenders, len(contenders)):
            values = samples[contender.name]
            if contender.repeats is not None and len(values) >= contender.repeats:
                continue
            value = contender.measure()
            if isinstance(value, tuple):
                value, other_figures = value
                for heading, figure in other_figures.items():
                    others[contender.name].setdefault(heading, []).append(figure)
            values.append(value)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    figures = {
        name: {heading: statistics.median(values) for heading, values in values_by_heading.items()}
        for name, values_by_heading in others.items()
    }
    rows = []
    for contender in contenders:
        floor = medians.get(contender.floor or "")
        peer = medians.get(contender.peer or "")
        median = medians[contender.name]
        values = samples[contender.name]
        rows.append(
            Row(
                case,
                contender.name,
                median,
                min(values),
                max(values),
                len(values),
                floor=contender.floor if floor is not None else None,
                over_floor=None if floor is None else median - floor,
                to_floor=None if floor is None else median / floor,
                peer=contender.peer if peer is not None else None,
                to_peer=None if peer is None else median / peer,
                others=figures[contender.name],
                bars=[judge(contender.name, bar, medians, figures) for bar in contender.bars],
            )
        )
    return rows


def judge(
    name: str, bar: Bar, medians: Mapping[str, float], figures: Mapping[str, Mapping[str, float]]
) -> Verdict:
    """Whether a contender meets a bar; without a value if the other one is not in the case."""
    if bar.figure is None:
        values, unit = medians, None
    else:
        values = {
            contender: by_heading[bar.figure]
            for contender, by_heading in figures.items()
            if bar.figure in by_heading
        }
        unit = bar.figure
    value: float | None = values[name]
    other = bar.times or bar.over
    beside = ""
    if other is not None:
        beside = f"× {other}" if bar.times else f"over {other}"
        unit = "" if bar.times else unit
        if other not in values:
            value = None
        else:
            value = values[name] / values[other] if bar.times else values[name] - values[other]
    if bar.at_most is not None:
        met = None if value is None else value <= bar.at_most
        return Verdict(f"≤ {bar.at_most:g}", beside, value, met, unit)
    least = bar.at_least or 0.0
    return Verdict(f"≥ {least:g}", beside, value, None if value is None else value >= least, unit)


def growth(
    rows: Sequence[Row], name: str, sizes: Mapping[str, float], *, at_most: float
) -> list[Row]:
    """Add a bar to the last case: the cost per unit of its size, compared with the first case.

    Args:
        rows: Rows of several cases.
        name: The contender.
        sizes: How much work each case is; all 1 if the median is already that of one unit.
        at_most: How many times as much a unit may cost in the last case as in the first.
    """
    rows_of_contender = [row for row in rows if row.name == name and row.case in sizes]
    if len(rows_of_contender) < 2:
        return list(rows)
    first, last = rows_of_contender[0], rows_of_contender[-1]
    value = (last.median / sizes[last.case]) / (first.median / sizes[first.case])
    is_same_size = sizes[last.case] == sizes[first.case]
    beside = f"× {first.case}" if is_same_size else f"× {first.case}, per unit"
    verdict = Verdict(f"≤ {at_most:g}", beside, value, value <= at_most, "")
    return [replace(row, bars=[*row.bars, verdict]) if row is last else row for row in rows]


def report(area: str, unit: str, rows: Sequence[Row], folder: Path, note: str = "") -> None:
    """Print the area's table and write it as `<area>.json`."""
    content = {
        "area": area,
        "unit": unit,
        "note": note,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{area}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")
    print(f"\n{area}, {unit}: {machine()}\n{area_table(content)}")


def machine() -> str:
    """Processor, cores, memory, system and Python, for the reader of the figures."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    name = names[0] if names else platform.machine()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{name}, {os.cpu_count()} cores, {memory_gb:.0f} GiB, {platform.system()} "
        f"{platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """Versions of what was measured: expkit's packages and the peers."""
    installed = {
        distribution.name: distribution.version for distribution in metadata.distributions()
    }
    return {
        name: installed[name] for name in sorted(installed) if name in PEERS or "expkit" in name
    }
