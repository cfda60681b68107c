"""Running a command: with a time limit, and without an exception."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

TIMED_OUT = 124  # as timeout(1) exits
MISSING = 127  # as a shell exits


@dataclass(frozen=True)
class CommandResult:
    """What came of a command: its exit code, its output and its messages."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What it printed, its messages first."""
        # scontrol prints its refusals to the standard output in some versions.
        return "\n".join(filter(None, (self.err.strip(), self.out.strip())))

    @property
    def one_line(self) -> str:
        """What it printed, in one line for a message of ours."""
        lines = [without_prefix(line) for line in self.message.splitlines() if line.strip()]
        return "; ".join(dict.fromkeys(lines)).rstrip(".") or f"exit code {self.code}, no message"


# Takes arguments, a time limit in seconds, and an environment, whose PWD is where it runs.
Runner = Callable[[Sequence[str], float, Mapping[str, str]], CommandResult]


def run_command(argv: Sequence[str], limit_s: float, environ: Mapping[str, str]) -> CommandResult:
    """Run a command without a shell and without input, in the directory PWD; no failure raises.

    A command that exceeds its limit (seconds) is killed: exit code 124. A missing one: 127.
    """
    try:
        done = subprocess.run(
            argv,
            env=dict(environ),
            cwd=environ.get("PWD"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        stderr = error.stderr or b""
        text = stderr if isinstance(stderr, str) else stderr.decode("utf-8", "replace")
        return CommandResult(TIMED_OUT, "", f"{text}{argv[0]} gave no answer within {limit_s:g} s")
    except OSError as error:  # missing, or not executable by us
        missing = error.filename in (None, argv[0])
        return CommandResult(MISSING if missing else 1, "", f"{error.filename}: {error.strerror}")
    return CommandResult(done.returncode, done.stdout, done.stderr)


def without_prefix(line: str) -> str:
    """A line without `sbatch: error: ` and the like.

    Examples:
        >>> without_prefix("scancel: error: Kill job error on job id 2: denied")
        'Kill job error on job id 2: denied'
    """
    return re.sub(r"^(?:\w+: )?(?:\w+ )?error: ", "", line.strip())
