"""One table over all areas that were measured: ours beside its peer and its floor."""

import json
import sys
from pathlib import Path

from measuring import number, print_table


def main() -> None:
    """Read the JSON files of a folder."""
    folder = Path(sys.argv[1])
    rows = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        ours = {row["name"] for row in content["rows"] if row["peer"] is not None}
        for row in content["rows"]:
            if row["name"] not in ours:
                continue
            median = f"{number(row['median'])} {content['unit']}"
            ratios = (number(row["to_floor"]), number(row["to_peer"]))
            what = (content["area"], row["case"], row["name"], median)
            rows.append([*what, *ratios, row["peer"] or "not in this case"])
    print("\nRatios of the medians; below 1 is less than the peer.")
    print_table(["area", "case", "what", "median", "÷ floor", "÷ peer", "peer"], rows)


if __name__ == "__main__":
    main()
