"""The verb `report`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ._data.files import short_path
from .commands import printable, run_verb


def report(argv: Sequence[str]) -> int:
    """Show experiments on one page of HTML that opens offline."""
    arguments = report_parser().parse_args(argv)
    folders: list[Path] = arguments.results

    def work() -> list[str]:
        from ._html_report import Report
        from ._page.content import page_style
        from ._page.places import report_path
        from ._page.watching import watch

        path = arguments.out or report_path(folders)
        if not arguments.watch:
            written = Report(folders, arguments.style).save(path)
            size = written.stat().st_size / 1e6
            return [f"report ({size:.1f} MB): {short_path(written)}"]
        style = page_style(folders[0], arguments.style)
        print(f"report: {short_path(path)}; Ctrl-C ends the watch", flush=True)
        for line in watch(folders, path, style):
            print(printable(line), flush=True)
        return [f"All runs are over: {short_path(path)}"]

    try:
        return run_verb(work)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def report_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit report`."""
    parser = argparse.ArgumentParser(
        prog="expkit report",
        description=(
            "Write one HTML page that shows an experiment: curves, tables, parallel coordinates, "
            "and each run's configuration, log and images. It opens offline, from a mail too. "
            "Several experiments are shown side by side."
        ),
        epilog=(
            "Exit codes: 0 done, 1 it could not be made, 69 a package is missing, 130 Ctrl-C "
            "ended the watch."
        ),
    )
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="results/EXPERIMENT", help="experiments' folders"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE",
        help="the page (default: report.html in the first experiment's folder)",
    )  # fmt: skip
    parser.add_argument(
        "--watch", action="store_true",
        help="write it again while runs train; a page that is open shows the newest",
    )  # fmt: skip
    parser.add_argument("--style", help="whose palette colours the curves, as for expkit plot")
    return parser
