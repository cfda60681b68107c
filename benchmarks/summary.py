"""One table over all areas that were measured: ours beside its peer, its floor and its bar.

With --markdown all areas' tables too; with --write those of README files are brought up to date:
what stands between `<!-- figures of AREA -->` and `<!-- end of figures -->` is replaced. `summary`
is an area here, `brief` has one line for each thing of ours, and `other areas` are all those that
the file has no place for.
"""

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tables import area_table, bar_text, number, table

Area = Mapping[str, Any]  # what measuring.report wrote
Row = dict[str, Any]  # one thing in one case, with one of its bars
FILE_NAME = "summary.json"
VERDICTS = {True: "met", False: "**missed**", None: "not measured"}
PLACE = re.compile(r"(<!-- figures of (.+?) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def main() -> None:
    """Read the JSON files of a folder, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="what nox -s bench wrote: build/benchmarks")
    parser.add_argument("--failed", nargs="*", default=[], help="areas that gave no figures")
    parser.add_argument("--markdown", action="store_true", help="print all areas' tables too")
    parser.add_argument("--write", nargs="*", type=Path, default=[], metavar="README.md")
    chosen = parser.parse_args()
    areas = [
        json.loads(path.read_text("utf-8"))
        for path in sorted(chosen.folder.glob("*.json"))
        if path.name != FILE_NAME
    ]
    if not areas:
        parser.error(f"there are no figures in {chosen.folder}; nox -s bench measures them")
    all_rows = [each for area in areas for each in rows_of(area)]
    rows = shortest(all_rows)
    texts = {area["area"]: area_table(area) for area in areas}
    texts["summary"] = summary_text(areas, rows, chosen.failed)
    texts["brief"] = brief_text(areas, all_rows)
    if chosen.markdown:
        for area in areas:
            print(f"\n### {area['area']}, {area['unit']}\n\n{texts[area['area']]}")
    print(f"\n{texts['summary']}")
    content = {**measured(areas), "failed": chosen.failed, "rows": rows}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (chosen.folder / FILE_NAME).write_text(text, "utf-8")
    for path in chosen.write:
        path.write_text(filled(path.read_text("utf-8"), texts), "utf-8")


def rows_of(area: Area) -> list[Row]:
    """What an area says of ours: everything that has a bar or is compared with a peer."""
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


def shortest(rows: Iterable[Row]) -> list[Row]:
    """Of what has the same bar in several cases the last, largest one, and those that miss it.

    A peer that is too slow for these cases stays with the last case that has it.
    """
    kept = []
    for found in by_thing(rows):
        measured_last = sorted(found, key=lambda row: row["met"] is not None)
        last = {row["bar"]: row for row in measured_last if row["bar"]}
        chosen = [row for row in found if row["met"] is False or row is last.get(row["bar"])]
        if not any(row["peer"] for row in chosen):
            beside = [row for row in found if row["peer"]][-1:]
            chosen = beside + chosen or found[-1:]
        kept += chosen
    return kept


def by_thing(rows: Iterable[Row]) -> Iterable[list[Row]]:
    """The rows of each thing of ours together: a name in cases that differ by their size."""
    things: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        kind = re.sub(r"\d[\d,]*", "", row["case"])
        things.setdefault((row["area"], row["what"], kind), []).append(row)
    return things.values()


def summary_text(areas: Sequence[Area], rows: Sequence[Row], failed: Sequence[str]) -> str:
    """When and where it was measured, the table, and how many bars are met."""
    head = ["area", "case", "what", "median", "÷ floor", "floor", "÷ peer", "peer"]
    lines = []
    before = None
    for row in rows:
        measured_once = [
            *(row[key] for key in ("area", "case", "what")),
            f"{number(row['median'])} {row['unit']}",
            *(number(row["to_floor"]), row["floor"] or ""),
            *(number(row["to_peer"]), row["peer"] or ""),
        ]
        same = measured_once == before
        before = measured_once
        lines.append(
            [
                *([""] * len(head) if same else measured_once),
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
    return "\n".join([*text, "", table([*head, "bar", "found", ""], lines)])


def brief_text(areas: Sequence[Area], rows: Sequence[Row]) -> str:
    """One line for each thing of ours: the largest case with the peer, and how its bars went."""
    with_bars = {row["area"] for row in rows if row["bar"]}
    lines = []
    for found in by_thing(rows):
        judged = [row for row in found if row["met"] is not None]
        if not judged and found[0]["area"] in with_bars:
            continue  # measured for the area's own table
        row = ([row for row in found if row["peer"]] or found)[-1]
        missed = [
            f"**missed** ({each['case']}): {number(each['value'])}, not {each['bar']}"
            for each in judged
            if each["met"] is False
        ]
        lines.append(
            [
                *(row["area"], row["case"], row["what"], f"{number(row['median'])} {row['unit']}"),
                *(number(row["to_floor"]), number(row["to_peer"]), row["peer"] or ""),
                "; ".join(missed) or ("met" if judged else ""),
            ]
        )
    head = ["area", "case", "what", "median", "÷ floor", "÷ peer", "peer", "bars"]
    return f"{when_and_where(areas)} Below 1 is less.\n\n{table(head, lines)}"


def when_and_where(areas: Sequence[Area]) -> str:
    """One sentence about the circumstances."""
    about = measured(areas)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"Measured {about['measured']} on {about['machine']} ({versions})."


def measured(areas: Sequence[Area]) -> dict[str, Any]:
    """Day, machine and versions that these areas have in common."""
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


def filled(text: str, texts: Mapping[str, str]) -> str:
    r"""A README with its figures replaced; an area that was not measured keeps what it had.

    >>> filled("<!-- figures of timer -->\nold\n<!-- end of figures -->\n", {"timer": "new"})
    '<!-- figures of timer -->\nnew\n<!-- end of figures -->\n'
    """
    places = {found[2] for found in PLACE.finditer(text)}
    others = (
        f"#### {name}\n\n{texts[name]}"
        for name in texts
        if name not in places | {"summary", "brief"}
    )
    texts = {**texts, "other areas": "\n\n".join(others)}

    def replaced(found: re.Match[str]) -> str:
        return f"{found[1]}{texts[found[2]]}\n{found[3]}" if found[2] in texts else found[0]

    return PLACE.sub(replaced, text)


if __name__ == "__main__":
    main()
