"""One table of all measured areas: expkit's contenders beside their peers, floors and bars.

--markdown prints the tables of all areas, too; --write updates those in README files: it replaces
what is between `<!-- figures of AREA -->` and `<!-- end of figures -->`. Besides the areas there
are `summary`, `brief` with one line per contender of expkit's, and `other areas` with all areas
that have no place in the file.
"""

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tables import area_table, bar_text, number, table

Area = Mapping[str, Any]  # what measuring.report wrote
Row = dict[str, Any]  # one contender in one case, with one of its bars
FILE_NAME = "summary.json"
VERDICTS = {True: "met", False: "**missed**", None: "not measured"}
PLACE = re.compile(r"(<!-- figures of (.+?) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def main() -> None:
    """Read the JSON files of a folder, print the summary and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="what nox -s bench wrote: build/benchmarks")
    parser.add_argument("--failed", nargs="*", default=[], help="areas that have no figures")
    parser.add_argument("--markdown", action="store_true", help="print all areas' tables too")
    parser.add_argument("--write", nargs="*", type=Path, default=[], metavar="README.md")
    settings = parser.parse_args()
    areas = [
        json.loads(path.read_text("utf-8"))
        for path in sorted(settings.folder.glob("*.json"))
        if path.name != FILE_NAME
    ]
    if not areas:
        parser.error(f"there are no figures in {settings.folder}; nox -s bench measures them")
    all_rows = [row for area in areas for row in rows_of(area)]
    rows = condensed(all_rows)
    texts = {area["area"]: area_table(area) for area in areas}
    texts["summary"] = summary_text(areas, rows, settings.failed)
    texts["brief"] = brief_text(areas, all_rows)
    if settings.markdown:
        for area in areas:
            print(f"\n### {area['area']}, {area['unit']}\n\n{texts[area['area']]}")
    print(f"\n{texts['summary']}")
    content = {**circumstances(areas), "failed": settings.failed, "rows": rows}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (settings.folder / FILE_NAME).write_text(text, "utf-8")
    for path in settings.write:
        path.write_text(fill_places(path.read_text("utf-8"), texts), "utf-8")


def rows_of(area: Area) -> list[Row]:
    """An area's rows of expkit's contenders: all that have a bar or are compared with a peer."""
    ours = {row["name"] for row in area["rows"] if row["bars"] or row["peer"] is not None}
    return [
        {
            "area": area["area"],
            "case": row["case"],
            "what": row["name"],
            "median": row["median"],
            "unit": area["unit"],
            "floor": row["floor"],
            "to_floor": row["to_floor"],
            "to_peer": row["to_peer"],
            "peer": row["peer"],
            "bar": bar_text(verdict, area["unit"]) if verdict else None,
            "value": verdict["value"] if verdict else None,
            "met": verdict["met"] if verdict else None,
        }
        for row in area["rows"]
        if row["name"] in ours
        for verdict in (row["bars"] or [None])
    ]


def condensed(rows: Iterable[Row]) -> list[Row]:
    """For each bar only the last, largest case, and the cases that miss it.

    If the peer is too slow for these cases, the last case that has it is kept as well.
    """
    kept_rows = []
    for rows_of_contender in by_contender(rows):
        measured_last = sorted(rows_of_contender, key=lambda row: row["met"] is not None)
        last = {row["bar"]: row for row in measured_last if row["bar"]}
        kept = [
            row for row in rows_of_contender if row["met"] is False or row is last.get(row["bar"])
        ]
        if not any(row["peer"] for row in kept):
            last_with_peer = [row for row in rows_of_contender if row["peer"]][-1:]
            kept = last_with_peer + kept or rows_of_contender[-1:]
        kept_rows += kept
    return kept_rows


def by_contender(rows: Iterable[Row]) -> Iterable[list[Row]]:
    """The rows of each contender, in cases that differ only by their size."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        kind = re.sub(r"\d[\d,]*", "", row["case"])
        groups.setdefault((row["area"], row["what"], kind), []).append(row)
    return groups.values()


def summary_text(areas: Sequence[Area], rows: Sequence[Row], failed: Sequence[str]) -> str:
    """When and where it was measured, how many bars are met, and the table."""
    head = ["area", "case", "what", "median", "÷ floor", "floor", "÷ peer", "peer"]
    lines = []
    cells_above = None
    for row in rows:
        cells = [
            *(row[key] for key in ("area", "case", "what")),
            f"{number(row['median'])} {row['unit']}",
            *(number(row["to_floor"]), row["floor"] or ""),
            *(number(row["to_peer"]), row["peer"] or ""),
        ]
        is_repeated = cells == cells_above
        cells_above = cells
        lines.append(
            [
                *([""] * len(head) if is_repeated else cells),
                row["bar"] or "",
                number(row["value"]),
                VERDICTS[row["met"]] if row["bar"] else "",
            ]
        )
    bars = [row["met"] for row in rows if row["met"] is not None]
    text = [
        when_and_where(areas),
        f"{sum(bars)} of {len(bars)} bars are met. "
        "Ratios are of medians: below 1 is less than the floor or the peer.",
        *([f"Failed, so without figures: {', '.join(failed)}."] if failed else []),
    ]
    return "\n".join([*text, "", table([*head, "bar", "measured", ""], lines)])


def brief_text(areas: Sequence[Area], rows: Sequence[Row]) -> str:
    """One line per contender of expkit's: the largest case with the peer, and its bars."""
    with_bars = {row["area"] for row in rows if row["bar"]}
    lines = []
    for rows_of_contender in by_contender(rows):
        judged_rows = [row for row in rows_of_contender if row["met"] is not None]
        if not judged_rows and rows_of_contender[0]["area"] in with_bars:
            continue  # measured for the area's own table
        row = ([row for row in rows_of_contender if row["peer"]] or rows_of_contender)[-1]
        missed = [
            f"**missed** ({judged['case']}): {number(judged['value'])}, not {judged['bar']}"
            for judged in judged_rows
            if judged["met"] is False
        ]
        lines.append(
            [
                *(row["area"], row["case"], row["what"], f"{number(row['median'])} {row['unit']}"),
                *(number(row["to_floor"]), number(row["to_peer"]), row["peer"] or ""),
                "; ".join(missed) or ("met" if judged_rows else ""),
            ]
        )
    head = ["area", "case", "what", "median", "÷ floor", "÷ peer", "peer", "bars"]
    return f"{when_and_where(areas)} Below 1 is less.\n\n{table(head, lines)}"


def when_and_where(areas: Sequence[Area]) -> str:
    """One sentence about the circumstances."""
    facts = circumstances(areas)
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"Measured {facts['measured']} on {facts['machine']} ({versions})."


def circumstances(areas: Sequence[Area]) -> dict[str, Any]:
    """Days, machines and versions with which these areas were measured."""
    days = sorted({area["measured_at"][:10] for area in areas})
    machines = dict.fromkeys(area["machine"] for area in areas)
    loads = [area["load"] for area in areas if area["load"] is not None]
    load = f", load {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    versions = {name: text for area in areas for name, text in area["versions"].items()}
    return {
        "measured": " to ".join(dict.fromkeys((days[0], days[-1]))),
        "machine": "; ".join(machines) + load,
        "versions": {name: versions[name] for name in sorted(versions) if "expkit" not in name},
    }


def fill_places(text: str, texts: Mapping[str, str]) -> str:
    r"""A README with new figures; an area that was not measured keeps its old ones.

    >>> fill_places("<!-- figures of timer -->\nold\n<!-- end of figures -->\n", {"timer": "new"})
    '<!-- figures of timer -->\nnew\n<!-- end of figures -->\n'
    """
    places = {match[2] for match in PLACE.finditer(text)}
    others = (
        f"#### {name}\n\n{texts[name]}"
        for name in texts
        if name not in places | {"summary", "brief"}
    )
    texts = {**texts, "other areas": "\n\n".join(others)}

    def replacement(match: re.Match[str]) -> str:
        return f"{match[1]}{texts[match[2]]}\n{match[3]}" if match[2] in texts else match[0]

    return PLACE.sub(replacement, text)


if __name__ == "__main__":
    main()
