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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path


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


@dataclass(frozen=True)
class Row:
    """One contender in one case; figures are in the area's unit."""

    case: str
    name: str
    median: float
    least: float
    most: float
    repeats: int
    over_floor: float | None = None  # difference of the medians
    to_floor: float | None = None  # ratio of the medians
    peer: str | None = None
    to_peer: float | None = None  # below 1: less than the peer
    others: dict[str, float] = field(default_factory=dict)  # medians


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
            value = each.measure()
            if isinstance(value, tuple):
                value, figures = value
                for heading, figure in figures.items():
                    others[each.name].setdefault(heading, []).append(figure)
            samples[each.name].append(value)
    medians = {name: statistics.median(values) for name, values in samples.items()}
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
                repeats,
                over_floor=None if floor is None else median - floor,
                to_floor=None if floor is None else median / floor,
                peer=each.peer if peer is not None else None,
                to_peer=None if peer is None else median / peer,
                others={key: statistics.median(found) for key, found in others[each.name].items()},
            )
        )
    return rows


def report(area: str, unit: str, rows: Sequence[Row], folder: Path) -> None:
    """Print the area's table and write it as `<area>.json`."""
    headings = list(dict.fromkeys(key for row in rows for key in row.others))
    head = ["case", "what", f"median {unit}", "min", "max", "n", "over floor", "÷ floor", "÷ peer"]
    print(f"\n{area}, {unit}: {machine()}")
    print_table(
        [*head, "peer", *headings],
        [
            [
                row.case,
                row.name,
                *map(number, (row.median, row.least, row.most)),
                str(row.repeats),
                *map(number, (row.over_floor, row.to_floor, row.to_peer)),
                row.peer or "",
                *(number(row.others.get(heading)) for heading in headings),
            ]
            for row in rows
        ],
    )
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "area": area,
        "unit": unit,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
    }
    (folder / f"{area}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")


def number(value: float | None) -> str:
    """Three significant digits; nothing for None.

    >>> number(1234.5), number(0.01234), number(7.0), number(None)
    ('1234', '0.0123', '7.00', '')
    """
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table, so that what was printed can be pasted into README.md."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(cells)} |")


def machine() -> str:
    """Processor, cores, Python and the load, for the reader of the figures."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    name = names[0] if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores{load}, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """What was measured: ours and the peers, by distribution."""
    wanted = ("hydra-core", "mlflow", "torch", "codetiming", "matplotlib", "seaborn", "submitit")
    found = {each.name: each.version for each in metadata.distributions()}
    return {name: found[name] for name in sorted(found) if name in wanted or "expkit" in name}
