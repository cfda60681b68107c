"""The edge to Slurm: the only module that runs its commands.

Everything that a command may print is judged here or in `_queue`; nothing else in the package
knows that `squeue` exists.
"""

from __future__ import annotations

import logging
import os
import random as random_numbers
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from ._errors import SlurmError
from ._queue import (
    SACCT_ARGUMENTS,
    SQUEUE_ARGUMENTS,
    Task,
    parse_duration_s,
    parse_sacct,
    parse_squeue,
)

log = logging.getLogger(__name__)

# A client waits MessageTimeout (10 s by default) for the controller, and squeue asks twice.
QUERY_LIMIT_S = 30.0
SUBMIT_LIMIT_S = 60.0
SUBMIT_ATTEMPTS = 5
FIRST_PAUSE_S = 2.0  # doubled after each attempt, times 0.5 to 1.5
DEFAULT_MAX_ARRAY_SIZE = 1001  # slurm.conf(5), MaxArraySize
IDS_PER_SCANCEL = 200

# What 22.05 shows of a job without a limit that its backfill scheduler has started.
_NO_TIME_LIMIT = "365-00:00:00"

TIMED_OUT = 124  # as timeout(1) exits
MISSING = 127  # as a shell exits

RefusalKind = Literal["limit", "invalid", "unreachable", "missing"]


@dataclass(frozen=True)
class Answer:
    """What a command said: its exit code, its output and its messages."""

    code: int
    out: str
    err: str


# Takes arguments, a time limit in seconds, and an environment, whose PWD is where it runs.
Runner = Callable[[Sequence[str], float, Mapping[str, str]], Answer]


class SubmitRefused(SlurmError):
    """A job that was not submitted.

    Attributes:
        kind: `limit` where the same may be accepted later, `invalid` where it never will be,
            `unreachable` where nobody answered (it may be in the queue all the same: `find`
            tells later), `missing` where there is no sbatch, or none that knows a controller.
    """

    def __init__(self, text: str, kind: RefusalKind) -> None:
        super().__init__(text)
        self.kind: RefusalKind = kind


def run_command(argv: Sequence[str], limit_s: float, environ: Mapping[str, str]) -> Answer:
    """Run a command without a shell and without input, in the directory PWD; no failure raises.

    A command that exceeds its limit (seconds) is killed: code 124. A missing one: code 127.
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
        said = error.stderr or b""
        text = said if isinstance(said, str) else said.decode("utf-8", "replace")
        return Answer(TIMED_OUT, "", f"{text}{argv[0]} gave no answer within {limit_s:g} s")
    except OSError as error:  # not there, or not for us
        missing = error.filename in (None, argv[0])
        return Answer(MISSING if missing else 1, "", f"{error.filename}: {error.strerror}")
    return Answer(done.returncode, done.stdout, done.stderr)


# How a client finds its cluster, and says who it is where there is no munge.
_CLIENT_SETTINGS = frozenset(("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"))
# Who pays and where it runs: sites let users set these in their shell's profile, and Slurm never
# sets them in a job. A `#SBATCH` line yields to them, as it does when the user types sbatch.
_SITE_DEFAULTS = frozenset(
    ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION")
)
# Facts of the job, the rank or the run that this process is. SQUEUE_STATES and its like filter
# what a command prints, SCANCEL_* whom it meets: tasks would look gone.
_PREFIXES = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SUBMITIT_"),
    *("SQUEUE_", "SCANCEL_", "SACCT_", "SINFO_", "SCONTROL_"),
    *("PMI_", "PMI2_", "PMIX_", "OMPI_COMM_WORLD_", "TORCHELASTIC_"),
)
_NAMES = frozenset(
    (
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK"),
        *("GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME"),
        *("MASTER_ADDR", "MASTER_PORT"),
        *("MLFLOW_RUN_ID", "MLFLOW_RUN_NAME", "MLFLOW_PARENT_RUN_ID"),
        *("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"),
        "EXPKIT_GRID",
    )
)
# The GPUs of a surrounding job; outside of one they are the user's own choice.
_DEVICES = frozenset(("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"))


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What jobs and Slurm's commands inherit: all but what describes this very process.

    A grid may be submitted from inside a job, a notebook on a node or an MLflow run. Its tasks
    must not take that job's size, rank, GPUs or run for their own.

    >>> clean_environment({"HOME": "/home/me", "SLURM_JOB_ID": "7", "SLURM_CONF": "/etc/s.conf"})
    {'HOME': '/home/me', 'SLURM_CONF': '/etc/s.conf'}
    """
    kept = _CLIENT_SETTINGS | _SITE_DEFAULTS
    dropped = _NAMES | (_DEVICES if "SLURM_JOB_ID" in environ else frozenset())
    return {
        name: value
        for name, value in environ.items()
        if name in kept or not (name in dropped or name.startswith(_PREFIXES))
    }


class Scheduler:
    """Slurm's commands, with time limits, retries and what their refusals mean.

    Args:
        run: Runs a command; tests pass their own.
        environ: The environment of this process, cleaned before a command sees it.
        sleep: Waits a number of seconds between attempts.
        random: Gives a number in [0, 1) by which pauses differ.
    """

    def __init__(
        self,
        run: Runner = run_command,
        *,
        environ: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self._run = run
        self._environ = environ
        self._sleep = sleep
        self._random = random
        self._has_accounting = True
        self._asked_of_all: set[str] = set()
        self._of_others: set[str] = set()

    def submit(self, arguments: Sequence[str], *, name: str, directory: Path) -> str:
        """Submit a batch job and return its id.

        An attempt that timed out may have been accepted all the same, so before each further one
        the queue is asked for a job of this name.

        Args:
            arguments: Options of sbatch, then the script and its arguments.
            name: The job's name, which no other job has or had; without commas.
            directory: Where sbatch runs and the job starts; relative paths refer to it.

        Raises:
            SubmitRefused: If it was not accepted; its `kind` says whether it can be.
        """
        argv = ["sbatch", "--parsable", f"--job-name={name}", *arguments]
        # The environment is exported to the job, so no LC_ALL: it would be the job's encoding.
        # --chdir would not do for the directory: SLURM_SUBMIT_DIR is where sbatch runs.
        environ = clean_environment(self._environ) | {"PWD": str(directory)}
        answer: Answer | None = None
        for attempt in range(SUBMIT_ATTEMPTS + 1):
            if answer is not None:
                self._sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * (0.5 + self._random()))
                try:
                    found = self.find(name)
                except SlurmError:
                    continue  # whether it is there is not known, so it is not submitted again
                if found is not None:
                    return found
                # sbatch itself has waited for a place among MaxJobCount jobs, in vain.
                in_vain = answer.code == TIMED_OUT and _FULL.search(_said(answer)) is not None
                if in_vain or attempt == SUBMIT_ATTEMPTS:
                    break
            answer = self._run(argv, SUBMIT_LIMIT_S, environ)
            accepted = _job_id(answer.out) if answer.code == 0 else None
            if accepted is not None:
                return accepted
            if answer.code == 0:  # it was accepted, and a wrapper of the site's hides the id
                found = self.find(name)
                if found is not None:
                    return found
            if not _is_transient(answer) or _knows_no_controller(answer):
                break
            log.info("sbatch: %s; trying again", _words(answer))
        assert answer is not None  # for mypy: the first turn sets it
        raise self._refusal(answer, name)

    def find(self, name: str) -> str | None:
        """The id of the job with this name: queued, running or just over; None if there is none.

        Raises:
            SlurmError: If nobody answers.
        """
        answer = self._of_mine(["--noheader", "--states=all", f"--name={name}", "--format=%F %j"])
        if answer.code != 0:
            raise SlurmError(
                f"Slurm did not say whether job {name} exists: {_words(answer)}. "
                "Try `sinfo`: if it answers, give the same command again."
            )
        lines = (line.partition(" ") for line in answer.out.splitlines())
        ids = {identifier for identifier, _, found in lines if found.rstrip() == name}
        return max(ids, key=_number, default=None)

    def queue(self, jobs: Sequence[str]) -> list[Task] | None:
        """The tasks of these jobs, by ids such as `12` or `12_3`, that the queue still knows.

        Tasks that have ended stay for some minutes (MinJobAge). What is absent is gone: forgotten,
        or cancelled while it waited, of which nothing remains, in the accounting neither.

        Returns:
            None if the controller does not answer.
        """
        wanted = list(dict.fromkeys(jobs))
        if not wanted:
            return []
        # One id is one small message to the controller. For several squeue fetches all jobs of
        # the cluster, unless it is given one user.
        if len(wanted) == 1 or not self._of_others.isdisjoint(wanted):
            return self._tasks(wanted, of_all=True)
        tasks = self._tasks(wanted, of_all=False)
        if tasks is None:
            return None
        known = {key for task in tasks for key in (task.array_job_id, task.name, task.job_id)}
        # Somebody else's, or gone: asked once.
        absent = [each for each in wanted if each not in known | self._asked_of_all]
        if absent:
            others = self._tasks(absent, of_all=True)
            if others is None:
                return None
            self._asked_of_all.update(absent)
            if others:
                self._of_others.update(absent)
            tasks += others
        return tasks

    def accounting(self, jobs: Sequence[str]) -> list[Task] | None:
        """The tasks of these jobs in the accounting database, however old.

        A task that was requeued shows its last record: PREEMPTED or NODE_FAIL may mean that it
        waits to run again, so ask `queue` first.

        Returns:
            None where accounting is off or does not answer.
        """
        if not self._has_accounting:
            return None
        if not jobs:
            return []
        argv = ["sacct", *SACCT_ARGUMENTS, f"--jobs={','.join(dict.fromkeys(jobs))}"]
        answer = self._query(argv)
        if answer.code == MISSING or "accounting storage is disabled" in _said(answer):
            self._has_accounting = False
            log.info("No accounting on this cluster (%s): the queue is believed.", _words(answer))
            return None
        if answer.code != 0:
            log.debug("sacct: %s", _words(answer))
            return None
        try:
            return parse_sacct(answer.out)
        except ValueError as error:
            log.warning("%s", error)
            return None

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs or array tasks; those that are gone are no error.

        Args:
            jobs: Ids such as `12`, `12_3` or `12_[3-5,9]`.

        Raises:
            SlurmError: With Slurm's words, if one of them was not reached.
        """
        wanted = list(dict.fromkeys(jobs))
        failures: list[str] = []
        for start in range(0, len(wanted), IDS_PER_SCANCEL):
            argv = ["scancel", *wanted[start : start + IDS_PER_SCANCEL]]
            answer = self._query(argv)
            if answer.code == 0:
                continue
            lines = _said(answer).splitlines() or [f"scancel exited with code {answer.code}"]
            failures += [each for each in lines if each.strip() and not _GONE.search(each)]
        if failures:
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            raise SlurmError(
                f"scancel did not reach all jobs: {_bare(failures[0])}{more}. "
                "`squeue --me` lists those that are left; cancelling twice does no harm."
            )

    def requeue(self, job: str) -> None:
        """Let a job or array task that runs, or has just ended, wait and run again.

        Raises:
            SlurmError: With Slurm's words, if it was not requeued.
        """
        answer = self._query(["scontrol", "requeue", job])
        if answer.code != 0:
            raise SlurmError(f"Slurm did not requeue job {job}: {_words(answer)}.")

    def max_array_size(self) -> int:
        """MaxArraySize: the largest array index is one less; Slurm's default if nobody answers."""
        answer = self._query(["scontrol", "show", "config"])
        match = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer.out, re.MULTILINE)
        return int(match[1]) if match is not None else DEFAULT_MAX_ARRAY_SIZE

    def time_left_s(self, job_id: str) -> float | None:
        """Seconds until the time limit of a running job; None: no limit, or nobody says.

        Asked of the controller (one small message), not read from the environment: Slurm 22.05
        sets no SLURM_JOB_END_TIME in a job, and administrators extend limits.
        """
        argv = ["squeue", "--noheader", f"--jobs={job_id}", "--format=%A %F_%K %l %L"]
        answer = self._query(argv)
        if answer.code != 0:
            return None
        for line in answer.out.splitlines():
            own, task, limit, left = [*line.split(), "", "", "", ""][:4]
            # The last task of an array has the array's id, for which squeue lists all tasks.
            if job_id in (own, task):
                return None if limit == _NO_TIME_LIMIT else parse_duration_s(left)
        return None

    def _query(self, argv: Sequence[str]) -> Answer:
        environ = clean_environment(self._environ)
        environ.pop("PWD", None)  # perhaps stale, perhaps removed; and nothing to these commands
        environ.update(
            LC_ALL="C",
            SLURM_BITSTR_LEN="0",  # otherwise ranges of tasks are cut at 64 bytes
        )
        return self._run(argv, QUERY_LIMIT_S, environ)

    def _of_mine(self, arguments: Sequence[str]) -> Answer:
        """`squeue` for this user's jobs, which spares the controller everybody else's."""
        answer = self._query(["squeue", f"--user={os.getuid()}", *arguments])
        # A user without a name, as in containers: the exit code is 0, and no job is listed.
        if "Invalid user" in answer.err:
            return self._query(["squeue", *arguments])
        return answer

    def _tasks(self, jobs: Iterable[str], *, of_all: bool) -> list[Task] | None:
        arguments = [*SQUEUE_ARGUMENTS, f"--jobs={','.join(jobs)}"]
        answer = self._query(["squeue", *arguments]) if of_all else self._of_mine(arguments)
        if answer.code != 0:
            # Said only when a single id is asked for; among several, one that is gone is absent.
            if _GONE.search(_said(answer)):
                return []
            log.debug("squeue: %s", _words(answer))
            return None
        try:
            return parse_squeue(answer.out)
        except ValueError as error:
            log.warning("%s", error)
            return None

    def _refusal(self, answer: Answer, name: str) -> SubmitRefused:
        said, words = _said(answer), _words(answer)
        if answer.code == MISSING:
            return SubmitRefused(
                f"There is no sbatch on this machine ({words}). Submit from a login node of the "
                "cluster, or run the grid on this machine: hydra/launcher=expkit.",
                "missing",
            )
        if _knows_no_controller(answer):
            return SubmitRefused(
                f"No Slurm controller was found from this machine ({words}). Try `sinfo`: where "
                "it does not answer either, submit from a login node of the cluster, or set "
                "SLURM_CONF to its slurm.conf. Without hydra/launcher=expkit_slurm the grid runs "
                "on this machine.",
                "missing",
            )
        if _is_limit(said):
            return SubmitRefused(
                f"Slurm takes no more jobs of yours at present ({words}). What it has accepted "
                "stays; give the same command again when some have ended.",
                "limit",
            )
        if _is_transient(answer):
            return SubmitRefused(
                f"Slurm's controller did not accept job {name} in {SUBMIT_ATTEMPTS} attempts: "
                f"{words}. Try `sinfo`: when it answers, give the same command again. Where it "
                "never does, check SLURM_CONF, or submit from a login node of the cluster; "
                "without hydra/launcher=expkit_slurm the grid runs on this machine.",
                "unreachable",
            )
        near = self._near_partition(said)
        return SubmitRefused(
            f"sbatch does not accept job {name}: {words}.{near} "
            "Correct the script's #SBATCH lines or the launcher's options and submit again.",
            "invalid",
        )

    def _near_partition(self, said: str) -> str:
        match = re.search(r"invalid partition specified: (\S+)", said)
        if match is None:
            return ""
        listing = self._query(["sinfo", "--noheader", "--format=%R"])
        known = sorted(set(listing.out.split())) if listing.code == 0 else []
        near = get_close_matches(match[1], known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{hint} Partitions: {', '.join(known)}." if known else ""


_GONE = re.compile(
    r"Invalid job id specified|already completing or completed|Job/step already", re.IGNORECASE
)
_TRANSIENT = re.compile(
    r"Socket timed out|Unable to contact slurm controller|temporarily unable to accept"
    r"|Resource temporarily unavailable|Zero Bytes were transmitted|RPC limit"
    r"|Connection (?:refused|reset|timed out)|connection failure|not connected"
    r"|job queue full|standby mode|Unexpected message received",
    re.IGNORECASE,
)
# There is no slurm.conf where it is looked for, nor a DNS record that names a server of it. Said
# within a second, or again and again for a minute where SLURM_CONF names a file that is not there.
_NO_CONTROLLER = re.compile(
    r"Could not establish a configuration source|Unable to process configuration file"
    r"|cannot stat file|DNS SRV lookup failed",
    re.IGNORECASE,
)
# The names of Slurm's pending reasons, which sbatch prints above its refusal.
_SUBMIT_LIMIT = re.compile(r"\b(?:Assoc|QOS)\w*Submit\w*|\bMaxSubmitJob\w*")
_OTHER_LIMIT = re.compile(r"\b(?:Assoc|QOS)(?!\w*Submit)\w*(?:Limit|PerUser|PerJob|PerAccount)\b")
# MaxJobCount is reached: sbatch waits for a place, longer than we wait for it.
_FULL = re.compile(
    r"temporarily unable to accept|job queue full|Resource temporarily unavailable", re.IGNORECASE
)


def _is_transient(answer: Answer) -> bool:
    return answer.code == TIMED_OUT or (
        answer.code not in (0, MISSING) and _TRANSIENT.search(_said(answer)) is not None
    )


def _knows_no_controller(answer: Answer) -> bool:
    return answer.code != 0 and _NO_CONTROLLER.search(_said(answer)) is not None


def _is_limit(said: str) -> bool:
    if _SUBMIT_LIMIT.search(said) or _FULL.search(said):
        return True
    # The same words stand below a job that asks for more than a QOS ever gives.
    return "violates accounting/QOS policy" in said and _OTHER_LIMIT.search(said) is None


def _job_id(out: str) -> str | None:
    """The id in `12` or `12;cluster`, below whatever a site's plugin printed."""
    for line in reversed(out.splitlines()):
        match = re.fullmatch(r"(\d+)(?:;\S+)?", line.strip())
        if match is not None:
            return match[1]
    return None


def _number(identifier: str) -> int:
    return int(identifier) if identifier.isdecimal() else 0


def _said(answer: Answer) -> str:
    # scontrol prints its refusals to the standard output in some versions.
    return "\n".join(filter(None, (answer.err.strip(), answer.out.strip())))


def _words(answer: Answer) -> str:
    """What a command said, in one line for a message of ours."""
    lines = [_bare(each) for each in _said(answer).splitlines() if each.strip()]
    return "; ".join(dict.fromkeys(lines)).rstrip(".") or f"exit code {answer.code}, no message"


def _bare(line: str) -> str:
    return re.sub(r"^(?:\w+: )?(?:\w+ )?error: ", "", line.strip())
