"""How every area is measured: contenders in interleaved rounds, one table, one JSON file.

Timings on a shared machine drift by half within minutes, so all contenders of a case are timed in
turn, round after round, and only ratios within one case are worth comparing.
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
    "seaborn",
    "torch",
)


@dataclass(frozen=True)
class Bar:
    """A target for the median of a contender in its case.

    In the area's unit, unless `times` or `over` names a contender of the same case: then it holds
    for the ratio to that one, or the difference. `figure` is the heading of another figure than
    the main one.
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
    """What became of a bar."""

    limit: str  # "≤ 30"
    beside: str  # "over bare Python", or nothing
    value: float | None  # None: what it compares with was left out
    met: bool | None
    unit: str | None = None  # None: the area's


@dataclass(frozen=True)
class Contender:
    """Something to measure, and what it is compared with.

    `measure` returns one repeat in the area's unit, or that and other figures by their heading.
    `floor` is what cannot be undercut, `peer` what users would take instead: names of contenders
    of the same case.
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
    """Time all contenders in turn, in another order each of the `repeats` rounds."""
    samples: dict[str, list[float]] = {each.name: [] for each in contenders}
    others: dict[str, dict[str, list[float]]] = {each.name: {} for each in contenders}
    order = random.Random(0)
    for _ in range(repeats):
        # Shuffled: what comes after a large contender finds cold caches.
        for each in order.sample(contenders, len(contenders)):
            if each.repeats is not None and len(samples[each.name]) >= each.repeats:
                continue
            value = each.measure()
            if isinstance(value, tuple):
                value, beside = value
                for heading, figure in beside.items():
                    others[each.name].setdefault(heading, []).append(figure)
            samples[each.name].append(value)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    figures = {
        name: {heading: statistics.median(values) for heading, values in found.items()}
        for name, found in others.items()
    }
    rows = []
    for each in contenders:
        floor = medians.get(each.floor or "")
        peer = medians.get(each.peer or "")
        median = medians[each.name]
        rows.append(
            Row(
                case,
                each.name,
                median,
                min(samples[each.name]),
                max(samples[each.name]),
                len(samples[each.name]),
                floor=each.floor if floor is not None else None,
                over_floor=None if floor is None else median - floor,
                to_floor=None if floor is None else median / floor,
                peer=each.peer if peer is not None else None,
                to_peer=None if peer is None else median / peer,
                others=figures[each.name],
                bars=[judged(each.name, bar, medians, figures) for bar in each.bars],
            )
        )
    return rows


def judged(
    name: str, bar: Bar, medians: Mapping[str, float], figures: Mapping[str, Mapping[str, float]]
) -> Verdict:
    """Whether a contender meets a bar; nothing found where the other one is not in the case."""
    if bar.figure is None:
        values, unit = medians, None
    else:
        values = {each: found[bar.figure] for each, found in figures.items() if bar.figure in found}
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
    """Add a bar to the last case: what a unit of its size costs, beside the first case.

    Args:
        rows: Rows of several cases.
        name: The contender.
        sizes: How much work each case is; all 1 where the median already is that of one unit.
        at_most: How many times as much a unit may cost in the last case as in the first.
    """
    mine = [row for row in rows if row.name == name and row.case in sizes]
    if len(mine) < 2:
        return list(rows)
    first, last = mine[0], mine[-1]
    value = (last.median / sizes[last.case]) / (first.median / sizes[first.case])
    same = sizes[last.case] == sizes[first.case]
    beside = f"× {first.case}" if same else f"× {first.case}, for each unit"
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
    """What was measured: ours and the peers, by distribution."""
    found = {each.name: each.version for each in metadata.distributions()}
    return {name: found[name] for name in sorted(found) if name in PEERS or "expkit" in name}
