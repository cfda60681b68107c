"""Owning a run folder: claims by hard link, and run.json, which only the owner writes."""

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from .._files.durable import remove_leftovers, write_file, write_temporary
from .._files.plain_data import json_data
from .._files.secrets import without_known_secrets
from .processes import ProcessIdentity, same_machine, this_process
from .records import (
    SCHEMA,
    STALE_S,
    TO_RUN,
    Liveness,
    RunRecord,
    claim_path,
    claimed_record,
    heartbeat_age_s,
    highest_claim,
    is_alive,
    read_claim,
    read_run,
)

_LINKS_UNSUPPORTED = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # exFAT, FUSE
FINAL_STATES = ("completed", "failed", "interrupted")

# A launcher and the Bookkeeping inside it may hold one claim together, and each has a thread that
# writes heartbeats: reading, changing and writing run.json is one step.
_update_lock = threading.RLock()


def _renew_lock() -> None:
    """Make a new lock in a forked child: the old one may be held by a thread of the parent."""
    global _update_lock
    _update_lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_lock)


class RunClaimed(RuntimeError):
    """The run belongs to a process that is alive, or may be."""


class ClaimLost(RuntimeError):
    """The run has been claimed by somebody else since, or its folder was moved away."""


class Claim:
    """The right to write one run's folder, until a higher claim exists. Made by `claim_run`."""

    def __init__(
        self, folder: Path, attempt: int, process: ProcessIdentity, clock: Callable[[], float]
    ) -> None:
        self.folder = folder
        self.attempt = attempt
        self._process = process
        self._clock = clock
        self._opened_at_s = clock()
        self._elapsed_before_s = 0.0
        self._data: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"Claim({str(self.folder)!r}, attempt={self.attempt})"

    @property
    def record(self) -> RunRecord:
        """The run as run.json describes it now."""
        record = read_run(self.folder)
        if record is None:
            raise ClaimLost(f"{self.folder / 'run.json'} is gone; the run folder was moved away.")
        return record

    def is_highest(self) -> bool:
        """Whether this claim still owns the run: it exists, and there is no higher one."""
        return _exists(claim_path(self.folder, self.attempt)) and not _exists(
            claim_path(self.folder, self.attempt + 1)
        )

    def check(self) -> None:
        """Check that this claim still owns the run.

        Raises:
            ClaimLost: If a higher claim exists or the folder is gone.
        """
        self._check_process()
        self._check_highest()

    def update(self, **fields: object) -> None:
        """Change keys of run.json, and count as a heartbeat.

        Raises:
            ClaimLost: If a higher claim exists or the folder is gone; nothing is written.
            TypeError: If a value is not data, with the path to it; nothing is written.
        """
        self._check_process()
        with _update_lock:
            self._check_highest()
            data = self._current_data()
            data.update(fields)
            data["heartbeat_at"] = _iso(self._clock())
            data["elapsed_s"] = round(self._elapsed_s(), 3)
            self._write(data)

    def heartbeat(self) -> None:
        """Record in run.json that the owner is alive.

        Raises:
            ClaimLost: As `update`.
        """
        self.update()

    def finish(self, state: str, error: BaseException | None = None, **fields: object) -> None:
        """Record how the attempt ended.

        Args:
            state: completed, failed or interrupted.
            error: The error that ended it; its type, message and traceback are kept.
            **fields: Other keys of run.json to change.

        Raises:
            ClaimLost: As `update`.
            ValueError: If the state is none of the three.
        """
        if state not in FINAL_STATES:
            raise ValueError(f"A run cannot end as {state!r}. Known: {', '.join(FINAL_STATES)}.")
        from .code import code_facts
        from .code_records import record_code_of_run

        self.check()
        ending: dict[str, object] = {
            "state": state,
            "ended_at": _iso(self._clock()),
            "error": None if error is None else _error_facts(error),
            # with the sources imported since the start
            "code": record_code_of_run(self.folder, code_facts()),
        }
        self.update(**fields, **ending)

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + max(0.0, self._clock() - self._opened_at_s)

    def _check_process(self) -> None:
        if os.getpid() != self._process.pid:
            raise ClaimLost(
                f"Run {self.folder.name!r} belongs to process {self._process.pid}, from which this "
                "one was forked. Only that one writes."
            )

    def _check_highest(self) -> None:
        if self.is_highest():
            return
        record = claimed_record(self.folder)
        if record is None or not claim_path(self.folder, self.attempt).exists():
            raise ClaimLost(
                f"Run {self.folder.name!r} is gone from {self.folder} (moved to the trash or "
                "renamed?). This process writes nothing more for it."
            )
        check_purpose(self.folder, ClaimLost)
        raise ClaimLost(
            f"Run {self.folder.name!r} in {self.folder} now belongs to {_describe_owner(record)}, "
            f"attempt {record.attempt}; this process held attempt {self.attempt}, was taken for "
            "dead, and writes nothing more."
        )

    def _current_data(self) -> dict[str, object]:
        record = read_run(self.folder)
        if record is not None and record.attempt == self.attempt:
            return dict(record.data)
        return dict(self._data)

    def _write(self, data: dict[str, object], *, durable: bool = True) -> None:
        text = json.dumps(json_data(data), indent=1, ensure_ascii=False)
        # Checked again before the move: a file server that was away may have held the data back
        # for so long that the next owner has written by now.
        path = self.folder / "run.json"
        write_file(path, text + "\n", check=self._check_highest, sync_parent=durable)
        self._data = data


def claim_run(
    folder: Path,
    *,
    run_name: str | None = None,
    experiment_id: str | None = None,
    config_hash: str | None = None,
    grid_id: str | None = None,
    swept: Mapping[str, object] | None = None,
    choices: Mapping[str, object] | None = None,
    unresolved: Mapping[str, object] | None = None,
    is_alive: Liveness = is_alive,
    clock: Callable[[], float] = time.time,
) -> Claim:
    """Become the owner of a run folder and write its run.json with the state `running`.

    Of several processes that try at once exactly one succeeds. A process that already owns the
    run gets its own claim again (the same attempt), so re-running a notebook cell works. Where a
    fact is None, an existing run.json keeps its own.

    Args:
        folder: The run folder; made if missing.
        run_name: Name of the run; the folder's name if it has none yet.
        experiment_id: Name of the experiment.
        config_hash: See `config_hash`.
        grid_id: The grid that the run belongs to.
        swept: The swept keys and this run's values.
        choices: The chosen option of each config group.
        unresolved: By key, what `config_hash` counts instead of a value that depends on the
            machine or the time.
        is_alive: Says whether the present owner is alive.
        clock: Seconds since the epoch.

    Returns:
        The claim.

    Raises:
        RunClaimed: If the run's owner is alive, or may be, or a newer version wrote the run.
        OSError: If the folder cannot be written.
    """
    folder = Path(folder).absolute()  # as the training code may change the working directory
    (folder / "claims").mkdir(parents=True, exist_ok=True)
    process = this_process()
    facts: dict[str, object] = {
        "run_name": run_name,
        "experiment_id": experiment_id,
        "config_hash": config_hash,
        "grid_id": grid_id,
        "swept": None if swept is None else dict(swept),
        "choices": None if choices is None else dict(choices),
        "unresolved": None if unresolved is None else dict(unresolved),
    }
    while True:
        # The folder is read once, and the next claim is the number after the one that was judged.
        # With a second reading, a claim made in between would be taken for the judged one.
        record = claimed_record(folder)
        check_not_newer(record)
        check_purpose(folder)
        if (
            record is not None
            and is_owned_by(record, process)
            and _exists(claim_path(folder, record.attempt))
        ):
            claim = Claim(folder, record.attempt, process, clock)
            return _write_start(claim, facts, record, reopened=True)
        if record is not None and record.state == "running" and is_alive(record) is not False:
            raise RunClaimed(claimed_message(folder, record))
        attempt = 1 if record is None else record.attempt + 1
        if link_claim(folder, attempt, process, clock):
            remove_leftovers(folder)
            remove_leftovers(folder / "claims")
            claim = Claim(folder, attempt, process, clock)
            return _write_start(claim, facts, record, reopened=False)
        # Somebody linked this number first and owns the run now. Read again.


def link_claim(
    folder: Path,
    attempt: int,
    process: ProcessIdentity,
    clock: Callable[[], float],
    *,
    purpose: str = TO_RUN,
    shared: bool = False,
) -> bool:
    """Make claim number `attempt` for this process; False if another process was first."""
    path = claim_path(folder, attempt)
    facts = {
        "schema": SCHEMA,
        "attempt": attempt,
        "purpose": purpose,
        "shared": shared,
        "claimed_at": _iso(clock()),
        **process.facts(),
    }
    # Without waiting for the disk: run.json follows at once, durable, and says the same.
    finished = write_temporary(path, json.dumps(facts, ensure_ascii=False) + "\n", durable=False)
    try:
        # Unlike O_EXCL this is atomic on NFS too, and the claim is complete when it appears.
        os.link(finished, path)
    except FileNotFoundError:  # the first process has taken our file for a leftover
        return False
    except FileExistsError:
        # The reply to a link that succeeded may get lost on NFS, and the repeated call fails.
        if _link_count(finished) != 2:
            return False
    except OSError as error:
        if error.errno not in _LINKS_UNSUPPORTED:
            raise
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        finished.replace(path)
    finally:
        finished.unlink(missing_ok=True)
    return True


def _link_count(path: Path) -> int:
    """How many names a file has; 0 if it is gone."""
    try:
        return path.stat().st_nlink
    except FileNotFoundError:
        return 0


def _exists(path: Path) -> bool:
    # Not Path.exists: since Python 3.14 it is False for every error, and a server that is away for
    # a moment must not look like a run that is gone.
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _write_start(
    claim: Claim, facts: dict[str, object], former: RunRecord | None, *, reopened: bool
) -> Claim:
    """Write the run.json with which an attempt starts, or continues if it is reopened."""
    data: dict[str, object] = {} if former is None else dict(former.data)
    now = _iso(claim._clock())
    current = read_run(claim.folder)
    check_not_newer(current)
    if current is not None and current.state == "unknown":  # bad input never costs data
        with contextlib.suppress(OSError):
            os.replace(claim.folder / "run.json", claim.folder / "run.json.damaged")  # noqa: PTH105
    defaults: dict[str, object] = {
        "schema": SCHEMA,
        "id": os.urandom(16).hex(),
        "run_name": claim.folder.name,
        "experiment_id": None,
        "state": "running",
        "attempt": claim.attempt,
        "created_at": now,
        "started_at": now,
        "heartbeat_at": now,
        "ended_at": None,
        "elapsed_s": 0.0,
        **claim._process.facts(),
        "config_hash": None,
        "grid_id": None,
        "swept": {},
        "choices": {},
        "unresolved": {},
        "progress": None,
        "metrics": {},
        "best": None,
        "returned": None,
        "code": None,
        "error": None,
    }
    merged = {**defaults, **data}
    merged.update({key: value for key, value in facts.items() if value is not None})
    elapsed_s = former.elapsed_s if former is not None else 0.0
    if reopened and former is not None and former.state == "running":
        elapsed_s += max(0.0, claim._clock() - _seconds(former.heartbeat_at, claim._clock()))
    elif not reopened:
        merged["started_at"] = now
    claim._elapsed_before_s = elapsed_s

    from .code import code_facts
    from .code_records import record_code_of_run

    merged.update(claim._process.facts())
    merged.update(
        state="running",
        attempt=claim.attempt,
        ended_at=None,
        error=None,
        returned=None,
        code=record_code_of_run(claim.folder, code_facts()),
    )
    claim._data = merged
    with _update_lock:
        claim._check_highest()
        merged.update(heartbeat_at=now, elapsed_s=round(claim._elapsed_s(), 3))
        # The next heartbeat makes the move durable; a power cut before then frees the run.
        claim._write(merged, durable=False)
    return claim


def check_purpose(folder: Path, error: type[RuntimeError] = RunClaimed) -> None:
    """Check that a run folder is not held for anything else than to run.

    Raises:
        RunClaimed: If it is; or the error that is given.
    """
    claim = read_claim(folder, highest_claim(folder))
    if claim.purpose != TO_RUN:
        raise error(
            f"Run {folder.name!r} in {folder} is held for {claim.purpose!r}, not to run, by "
            f"process {claim.pid} on {claim.host or 'an unknown host'} since {claim.claimed_at} "
            f"(claim {claim.number:04d}). This version of expkit-bookkeeping cannot take it over; "
            "a newer one can."
        )


def is_owned_by(record: RunRecord, process: ProcessIdentity) -> bool:
    """Whether a process is the one that claimed a run."""
    identity = (process.host, process.pid, process.process_start)
    return (record.host, record.pid, record.process_start) == identity


def check_not_newer(record: RunRecord | None) -> None:
    """Check that no newer version wrote a run: what it means by the files is not known here.

    Raises:
        RunClaimed: If one did.
    """
    if record is not None and record.is_newer:
        raise RunClaimed(f"Run {record.run_name!r} is left as it is: {record.reason}")


def _describe_owner(record: RunRecord) -> str:
    job = ""
    if record.slurm is not None:
        array, task = record.slurm.get("array_job_id"), record.slurm.get("array_task_id")
        job_id = f"{array}_{task}" if array and task else record.slurm.get("job_id")
        job = f"Slurm job {job_id}, "
    return f"{job}process {record.pid} on {record.host or 'an unknown host'}"


def claimed_message(folder: Path, record: RunRecord) -> str:
    """Who owns a run, since when, and what to do about it: the text of `RunClaimed`."""
    age_s = heartbeat_age_s(folder)
    heartbeat = "" if age_s is None else f", last heartbeat {max(0.0, age_s):.0f} s ago"
    if same_machine(record.process_start, this_process().process_start):
        advice = f"Wait for it, or stop it: kill {record.pid}."
    else:
        advice = (
            "Wait for it or stop it. If it is dead, the run is free "
            f"{STALE_S // 60} minutes after its last heartbeat."
        )
    return (
        f"Run {record.run_name!r} in {folder} is held by {_describe_owner(record)} since "
        f"{record.started_at} (attempt {record.attempt}{heartbeat}). {advice}"
    )


def _error_facts(error: BaseException) -> dict[str, object]:
    import traceback

    lines = traceback.format_exception(error)
    return {
        "type": type(error).__name__,
        "message": without_known_secrets(str(error)),
        "traceback": without_known_secrets("".join(lines)[-20_000:]),
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _seconds(text: str | None, default: float) -> float:
    try:
        return default if text is None else datetime.fromisoformat(text).timestamp()
    except ValueError:
        return default
