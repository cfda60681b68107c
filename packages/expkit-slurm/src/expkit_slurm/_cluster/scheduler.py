"""The edge to Slurm: the only module that runs its commands.

What a command may print is judged here or in `parsing`; nothing else in the package knows that
`squeue` exists.
"""

from __future__ import annotations

import logging
import os
import random as random_numbers
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from .commands import MISSING, TIMED_OUT, CommandResult, Runner, run_command, without_prefix
from .environment import clean_environment
from .errors import SlurmError
from .parsing import (
    SACCT_ARGUMENTS,
    SQUEUE_ARGUMENTS,
    parse_duration_s,
    parse_sacct,
    parse_squeue,
)
from .tasks import Task

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

RefusalKind = Literal["limit", "invalid", "unreachable", "missing"]


class SubmitRefused(SlurmError):
    """A job that was not submitted.

    Attributes:
        kind: `limit` where the same job may be accepted later, `invalid` where it never will be,
            `unreachable` where Slurm did not answer (the job may be in the queue all the same:
            `find_job` says later whether it is), `missing` where there is no sbatch, or none that
            knows a controller.
    """

    def __init__(self, text: str, kind: RefusalKind) -> None:
        super().__init__(text)
        self.kind: RefusalKind = kind


class Scheduler:
    """Slurm's commands, with time limits, retries and the meaning of their refusals.

    Args:
        run: Runs a command; tests pass their own.
        environ: Environment variables, cleaned before a command sees them; None takes this
            process's.
        sleep: Waits a number of seconds between attempts.
        random: Gives a number in [0, 1) by which pauses differ.
    """

    def __init__(
        self,
        run: Runner = run_command,
        *,
        environ: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random_numbers.random,
    ) -> None:
        self._run = run
        self._environ = os.environ if environ is None else environ
        self._sleep = sleep
        self._random = random
        self._has_accounting = True
        self._asked_of_all: set[str] = set()
        self._of_others: set[str] = set()

    def submit(self, arguments: Sequence[str], *, name: str, directory: Path) -> str:
        """Submit a batch job and return its id.

        An attempt that timed out may have been accepted all the same, so the queue is asked for a
        job of this name before each further attempt.

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
        result: CommandResult | None = None
        for attempt in range(SUBMIT_ATTEMPTS + 1):
            if result is not None:
                self._sleep(FIRST_PAUSE_S * 2 ** (attempt - 1) * (0.5 + self._random()))
                try:
                    job_id = self.find_job(name)
                except SlurmError:
                    continue  # it may be in the queue, so it is not submitted again
                if job_id is not None:
                    return job_id
                # sbatch itself has waited for a place among MaxJobCount jobs, in vain.
                in_vain = result.code == TIMED_OUT and _FULL.search(result.message) is not None
                if in_vain or attempt == SUBMIT_ATTEMPTS:
                    break
            result = self._run(argv, SUBMIT_LIMIT_S, environ)
            job_id = _job_id(result.out) if result.code == 0 else None
            if job_id is not None:
                return job_id
            if result.code == 0:  # it was accepted, and a wrapper of the site's hides the id
                job_id = self.find_job(name)
                if job_id is not None:
                    return job_id
            if not _is_transient(result) or _knows_no_controller(result):
                break
            log.info("sbatch: %s; trying again", result.one_line)
        assert result is not None  # for mypy: the first turn sets it
        raise self._refusal(result, name)

    def find_job(self, name: str) -> str | None:
        """The id of the job with this name: queued, running or just over; None if there is none.

        Raises:
            SlurmError: If Slurm does not answer.
        """
        result = self._squeue_own(
            ["--noheader", "--states=all", f"--name={name}", "--format=%F %j"]
        )
        if result.code != 0:
            raise SlurmError(
                f"Slurm did not say whether job {name} exists: {result.one_line}. "
                "Try `sinfo`: if it answers, give the same command again."
            )
        lines = (line.partition(" ") for line in result.out.splitlines())
        ids = {job_id for job_id, _, job_name in lines if job_name.rstrip() == name}
        return max(ids, key=_number, default=None)

    def queue(self, jobs: Sequence[str]) -> list[Task] | None:
        """The tasks of these jobs, by ids such as `12` or `12_3`, that the queue still knows.

        Tasks that have ended stay for some minutes (MinJobAge). What is absent is gone: forgotten,
        or cancelled while it waited, of which nothing remains, not even in the accounting.

        Returns:
            None if the controller does not answer.
        """
        ids = list(dict.fromkeys(jobs))
        if not ids:
            return []
        # One id is one small message to the controller. For several, squeue fetches all jobs of
        # the cluster unless it is given one user.
        if len(ids) == 1 or not self._of_others.isdisjoint(ids):
            return self._tasks(ids, of_all=True)
        tasks = self._tasks(ids, of_all=False)
        if tasks is None:
            return None
        listed = {key for task in tasks for key in (task.array_job_id, task.name, task.job_id)}
        # Somebody else's, or gone: asked once.
        absent = [job_id for job_id in ids if job_id not in listed | self._asked_of_all]
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

        Of a requeued task it has the last record: PREEMPTED or NODE_FAIL may mean that the task
        waits to run again, so ask `queue` first.

        Returns:
            None where accounting is off or does not answer.
        """
        if not self._has_accounting:
            return None
        if not jobs:
            return []
        argv = ["sacct", *SACCT_ARGUMENTS, f"--jobs={','.join(dict.fromkeys(jobs))}"]
        result = self._query(argv)
        if result.code == MISSING or "accounting storage is disabled" in result.message:
            self._has_accounting = False
            log.info("No accounting on this cluster (%s): the queue is believed.", result.one_line)
            return None
        if result.code != 0:
            log.debug("sacct: %s", result.one_line)
            return None
        try:
            return parse_sacct(result.out)
        except ValueError as error:
            log.warning("%s", error)
            return None

    def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs or array tasks; those that are gone are no error.

        Args:
            jobs: Ids such as `12`, `12_3` or `12_[3-5,9]`.

        Raises:
            SlurmError: With Slurm's own message, if scancel did not reach one of them.
        """
        ids = list(dict.fromkeys(jobs))
        failures: list[str] = []
        for start in range(0, len(ids), IDS_PER_SCANCEL):
            argv = ["scancel", *ids[start : start + IDS_PER_SCANCEL]]
            result = self._query(argv)
            if result.code == 0:
                continue
            lines = result.message.splitlines() or [f"scancel exited with code {result.code}"]
            failures += [line for line in lines if line.strip() and not _GONE.search(line)]
        if failures:
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            raise SlurmError(
                f"scancel did not reach all jobs: {without_prefix(failures[0])}{more}. "
                "`squeue --me` lists those that are left; cancelling twice does no harm."
            )

    def requeue(self, job: str) -> None:
        """Let a job or array task that runs, or has just ended, wait and run again.

        Raises:
            SlurmError: With Slurm's own message, if it was not requeued.
        """
        result = self._query(["scontrol", "requeue", job])
        if result.code != 0:
            raise SlurmError(f"Slurm did not requeue job {job}: {result.one_line}.")

    def max_array_size(self) -> int:
        """MaxArraySize; the largest array index is one less. Slurm's default if it is silent."""
        result = self._query(["scontrol", "show", "config"])
        match = re.search(r"^MaxArraySize\s*=\s*(\d+)", result.out, re.MULTILINE)
        return int(match[1]) if match is not None else DEFAULT_MAX_ARRAY_SIZE

    def time_left_s(self, job_id: str) -> float | None:
        """Seconds until the time limit of a running job; None: no limit, or no answer.

        Asked of the controller (one small message), not read from the environment: Slurm 22.05
        sets no SLURM_JOB_END_TIME in a job, and administrators extend limits.
        """
        argv = ["squeue", "--noheader", f"--jobs={job_id}", "--format=%A %F_%K %l %L"]
        result = self._query(argv)
        if result.code != 0:
            return None
        for line in result.out.splitlines():
            own_id, task_name, limit, left = [*line.split(), "", "", "", ""][:4]
            # The last task of an array has the array's id, for which squeue lists all tasks.
            if job_id in (own_id, task_name):
                return None if limit == _NO_TIME_LIMIT else parse_duration_s(left)
        return None

    def _query(self, argv: Sequence[str]) -> CommandResult:
        environ = clean_environment(self._environ)
        environ.pop("PWD", None)  # may be stale or removed, and these commands do not need it
        environ.update(
            LC_ALL="C",
            SLURM_BITSTR_LEN="0",  # otherwise ranges of tasks are cut at 64 bytes
        )
        return self._run(argv, QUERY_LIMIT_S, environ)

    def _squeue_own(self, arguments: Sequence[str]) -> CommandResult:
        """`squeue` for this user's jobs, which spares the controller everybody else's."""
        result = self._query(["squeue", f"--user={os.getuid()}", *arguments])
        # A user without a name, as in containers: the exit code is 0, and no job is listed.
        if "Invalid user" in result.err:
            return self._query(["squeue", *arguments])
        return result

    def _tasks(self, jobs: Iterable[str], *, of_all: bool) -> list[Task] | None:
        arguments = [*SQUEUE_ARGUMENTS, f"--jobs={','.join(jobs)}"]
        result = self._query(["squeue", *arguments]) if of_all else self._squeue_own(arguments)
        if result.code != 0:
            # Printed only when a single id is asked for; among several, one that is gone is absent.
            if _GONE.search(result.message):
                return []
            log.debug("squeue: %s", result.one_line)
            return None
        try:
            return parse_squeue(result.out)
        except ValueError as error:
            log.warning("%s", error)
            return None

    def _refusal(self, result: CommandResult, name: str) -> SubmitRefused:
        message, line = result.message, result.one_line
        if result.code == MISSING:
            return SubmitRefused(
                f"There is no sbatch on this machine ({line}). Submit from a login node of the "
                "cluster, or run the grid on this machine: hydra/launcher=expkit.",
                "missing",
            )
        if _knows_no_controller(result):
            return SubmitRefused(
                f"No Slurm controller was found from this machine ({line}). Try `sinfo`: where "
                "it does not answer either, submit from a login node of the cluster, or set "
                "SLURM_CONF to its slurm.conf. Without hydra/launcher=expkit_slurm the grid runs "
                "on this machine.",
                "missing",
            )
        if _is_limit(message):
            return SubmitRefused(
                f"Slurm takes no more jobs of yours at present ({line}). What it has accepted "
                "stays; give the same command again when some have ended.",
                "limit",
            )
        if _is_transient(result):
            return SubmitRefused(
                f"Slurm's controller did not accept job {name} in {SUBMIT_ATTEMPTS} attempts: "
                f"{line}. Try `sinfo`: when it answers, give the same command again. Where it "
                "never does, check SLURM_CONF, or submit from a login node of the cluster; "
                "without hydra/launcher=expkit_slurm the grid runs on this machine.",
                "unreachable",
            )
        near = self._near_partition(message)
        return SubmitRefused(
            f"sbatch does not accept job {name}: {line}.{near} "
            "Correct the script's #SBATCH lines or the launcher's options and submit again.",
            "invalid",
        )

    def _near_partition(self, message: str) -> str:
        match = re.search(r"invalid partition specified: (\S+)", message)
        if match is None:
            return ""
        listing = self._query(["sinfo", "--noheader", "--format=%R"])
        partitions = sorted(set(listing.out.split())) if listing.code == 0 else []
        near = get_close_matches(match[1], partitions, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{hint} Partitions: {', '.join(partitions)}." if partitions else ""


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
# There is no slurm.conf where clients look, nor a DNS record that names a server of it. Printed
# within a second, or again and again for a minute where SLURM_CONF names a missing file.
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


def _is_transient(result: CommandResult) -> bool:
    return result.code == TIMED_OUT or (
        result.code not in (0, MISSING) and _TRANSIENT.search(result.message) is not None
    )


def _knows_no_controller(result: CommandResult) -> bool:
    return result.code != 0 and _NO_CONTROLLER.search(result.message) is not None


def _is_limit(message: str) -> bool:
    if _SUBMIT_LIMIT.search(message) or _FULL.search(message):
        return True
    # sbatch prints the same for a job that asks for more than a QOS ever gives.
    return "violates accounting/QOS policy" in message and _OTHER_LIMIT.search(message) is None


def _job_id(out: str) -> str | None:
    """The id in `12` or `12;cluster`, below whatever a site's plugin printed."""
    for line in reversed(out.splitlines()):
        match = re.fullmatch(r"(\d+)(?:;\S+)?", line.strip())
        if match is not None:
            return match[1]
    return None


def _number(job_id: str) -> int:
    return int(job_id) if job_id.isdecimal() else 0
