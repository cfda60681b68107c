"""The command `expkit check`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ._console.screen import answered
from ._verbs.answers import ATTENTION, DONE, print_json, refuse, verb_parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._checking.examination import Examination

_OF_A_SWEEP = ("-m", "--multirun")
_STYLES = {"refused": "bold red", "warning": "yellow", "note": "dim"}


def check_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit check`."""
    parser = verb_parser("check", check, attention="a grid would be refused")
    parser.usage = "expkit check [--json] [SCRIPT.py | -m MODULE] [overrides and flags of Hydra …]"
    parser.add_argument(
        "script",
        metavar="FILE",
        nargs="?",
        help="the script (default: the one here that has hydra.main)",
    )
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="as for the sweep")
    parser.add_argument("-m", dest="module", metavar="MODULE", help="as `python -m` takes it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser


@answered
def check(argv: Sequence[str]) -> int:
    """Say what a grid would be, and what may not be what you mean, before anything starts."""
    if {"-h", "--help"} & set(argv):
        check_parser().parse_args(["--help"])
    as_json = "--json" in argv
    try:
        script, module, arguments = _program([text for text in argv if text != "--json"])
    except FileNotFoundError as error:
        return refuse(error)
    examination = _examine(script, module, arguments)
    if examination is None:
        return refuse(
            ValueError(
                f"{script or module} has ended before it started a Hydra app. Name the script or "
                "module that you start the grid with."
            )
        )
    if as_json:
        print_json({"program": script or module, **asdict(examination)})
    else:
        _print(examination)
    refused = any(finding.level == "refused" for finding in examination.findings)
    return ATTENTION if refused else DONE


def _program(words: Sequence[str]) -> tuple[str | None, str | None, list[str]]:
    """The script or the module, and what follows it, without the flag of a sweep.

    >>> _program(["-m", "project.train", "lr=1,2"]), _program(["train.py", "-m", "lr=1,2"])
    ((None, 'project.train', ['lr=1,2']), ('train.py', None, ['lr=1,2']))

    Raises:
        FileNotFoundError: If there is no script, or not one alone.
    """
    script = module = None
    rest = list(words)
    if rest and rest[0].endswith(".py"):
        script = rest.pop(0)
    elif rest[:1] == ["-m"] and len(rest) > 1 and "=" not in rest[1] and rest[1][0] != "-":
        module = rest[1]
        rest = rest[2:]
    else:
        script = _only_script(Path())
    return script, module, [text for text in rest if text not in _OF_A_SWEEP]


def _only_script(folder: Path) -> str:
    scripts = []
    for path in sorted(folder.glob("*.py")):
        with contextlib.suppress(OSError, ValueError):
            text = path.read_text(encoding="utf-8")
            if "hydra.main" in text or "hydra_main" in text:
                scripts.append(str(path))
    if len(scripts) == 1:
        return scripts[0]
    if not scripts:
        raise FileNotFoundError("No script here has hydra.main. Write expkit check SCRIPT.py.")
    raise FileNotFoundError(
        f"Several scripts here have hydra.main. Write expkit check {scripts[0]}, or another of "
        f"{', '.join(scripts)}."
    )


def _examine(
    script: str | None, module: str | None, arguments: Sequence[str]
) -> Examination | None:
    from ._checking.examination import Examination, examine
    from ._checking.findings import REFUSED, Finding
    from ._checking.shadowing import hidden_modules
    from ._console.texts import error_line
    from ._program.app import run_to_sweep

    folder = Path.cwd() if script is None else Path(script).absolute().parent
    hidden = list(hidden_modules(folder))
    sys.dont_write_bytecode = True  # a check writes nothing
    examination: Examination | None
    try:
        with contextlib.redirect_stdout(sys.stderr):  # of the program
            examination = run_to_sweep(script, module, arguments, examine)
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.filename == script:
            raise
        from expkit_bookkeeping.launching import error_facts

        text = f"{script or module} cannot be started: {error_line(error_facts(error))}"
        examination = Examination(findings=[Finding(REFUSED, "program", text, script)])
    if examination is not None:
        examination.findings[:0] = hidden
    return examination


def _print(examination: Examination) -> None:
    from rich.table import Table
    from rich.text import Text

    from ._checking.findings import LEVELS
    from ._console.screen import console

    screen = console()
    findings = sorted(examination.findings, key=lambda finding: LEVELS.index(finding.level))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        place = "" if finding.file is None else finding.file
        if finding.line is not None:
            place += f":{finding.line}"
        text = Text(finding.text)
        if place:
            text.append(f"\n{place}", style="dim")
        table.add_row(Text(finding.level, style=_STYLES[finding.level]), text)
    if findings:
        screen.print(table)
    if examination.summary is not None:
        screen.print(examination.summary, markup=False)
