"""The verbs `sync` and `ui` of the command `expkit`."""

import argparse
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ._addresses.command_lines import command_line
from ._addresses.errors import TrackingError

# As in expkit-bookkeeping: what a terminal acts on, or turns round, and halves of surrogate pairs.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
LEFT_TO_ANOTHER = 75  # the exit code of `sync --follow`; EX_TEMPFAIL of sysexits.h
NOT_INSTALLED = 69  # a package is missing; EX_UNAVAILABLE


def sync(argv: Sequence[str]) -> int:
    """Send to MLflow what it does not have yet of an experiment's runs."""
    parent = os.getppid()  # before the imports below, during which it may end
    options = sync_parser().parse_args(argv)

    from ._sync.experiment import Synchronizer
    from ._sync.grid_follower import follow_grid

    _limit_retries()
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    try:
        synchronizer = Synchronizer(
            options.folder,
            tracking_uri=options.tracking_uri,
            must_exist=not options.follow,
            follow_links=options.follow_links,
        )
        if options.follow:
            if sys.stdin is not None and not sys.stdin.isatty():
                # Ctrl-C is for the sweep, which closes the pipe after its last run.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.nice(5)  # the runs come first
            report = follow_grid(
                synchronizer,
                sys.stdin,
                interval_s=options.interval,
                parent=parent,
                on_problem=_print_error,
            )
        else:
            report = synchronizer.once()
            for problem in report.problems:
                _print_error(problem)
    except (TrackingError, ImportError, OSError) as error:
        _print_error(str(error))
        return NOT_INSTALLED if isinstance(error, ImportError) else 1
    except KeyboardInterrupt:
        return 130
    report.folder = options.folder  # as it was typed
    if report.left_to is not None:
        other = report.left_to[:1].upper() + report.left_to[1:]
        _print_error(f"{other} sends these runs to MLflow, too")
        return LEFT_TO_ANOTHER
    print(_printable(str(report)))
    if options.show_ui:
        print(command_line("ui", options.folder))
    return 1 if report.problems else 0


def ui(argv: Sequence[str]) -> int:
    """Open MLflow's UI on an experiment's embedded store."""
    options = ui_parser().parse_args(argv)

    from ._addresses.uris import check_installed
    from ._sync.experiment import Synchronizer
    from ._ui import serve

    _limit_retries()
    for number in (signal.SIGTERM, signal.SIGHUP):  # end the server as Ctrl-C does
        signal.signal(number, signal.default_int_handler)
    try:
        check_installed("sqlite:///mlflow.db")
        report = Synchronizer(options.folder).once()  # also corrects a moved folder's artifacts
        for problem in report.problems:
            _print_error(problem)
        report.folder = options.folder  # as it was typed
        print(f"{_printable(str(report))}\nMLflow's UI starts (10 to 20 s) …", flush=True)
        with serve(options.folder, port=options.port) as url:
            print(f"{url}  (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
    except (TrackingError, ImportError, OSError) as error:
        _print_error(str(error))
        return NOT_INSTALLED if isinstance(error, ImportError) else 1
    except KeyboardInterrupt:
        return 0
    return 0


def sync_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit sync`."""
    parser = _parser("sync", sync)
    parser.add_argument("--follow", action="store_true", help="repeat until stdin is closed")
    parser.add_argument(
        "--interval", type=float, default=5.0, metavar="S", help="seconds between passes (5)"
    )
    parser.add_argument("--tracking-uri", help="send everything there, not where the journals say")
    parser.add_argument(
        "--follow-links", action="store_true", help="send artifacts that are links out of a run"
    )
    parser.add_argument("--show-ui", action="store_true", help="print how to open the UI")
    return parser


def ui_parser() -> argparse.ArgumentParser:
    """The arguments of `expkit ui`."""
    parser = _parser("ui", ui)
    parser.add_argument("--port", type=int, help="5000 or the next free one by default")
    return parser


def _parser(verb: str, command: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"expkit {verb}", description=command.__doc__)
    parser.add_argument(
        "folder", metavar="results/EXPERIMENT", type=Path, help="the experiment's folder"
    )
    return parser


def _limit_retries() -> None:
    """Limits MLflow's client, which would retry a hanging server for a quarter of an hour."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


def _print_error(text: str) -> None:
    print(_printable(text), file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """Text for a terminal: control characters in names of runs are shown, and obeyed by nobody."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _printable(super().format(record))
