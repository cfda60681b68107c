"""Owning a run folder: claims by hard link, and run.json as only the owner writes it."""

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ._files import remove_leftovers, write_file, write_temporary
from ._hashes import canonical
from ._owners import Owner, same_machine, this_process
from ._records import (
    STALE_S,
    Liveness,
    RunRecord,
    claim_path,
    claimed_record,
    heartbeat_age_s,
    is_alive,
    read_run,
)

SCHEMA = 1
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # exFAT, some FUSE
FINAL_STATES = ("completed", "failed", "interrupted")

# A launcher and the Bookkeeping inside it may hold one claim together, and each has a thread that
# writes heartbeats: reading, changing and writing run.json is one step.
_writing = threading.RLock()


def _renew_lock() -> None:
    """A child may be forked while a thread holds the lock, which does not exist in the child."""
    global _writing
    _writing = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_lock)


class RunClaimed(RuntimeError):
    """The run belongs to a process that lives, or of which nobody can tell that it is gone."""


class ClaimLost(RuntimeError):
    """The run was claimed by somebody else in the meantime, or its folder was moved away."""


class Claim:
    """The right to write one run's folder, until a higher claim exists. Made by `claim_run`."""

    def __init__(
        self, folder: Path, attempt: int, owner: Owner, clock: Callable[[], float]
    ) -> None:
        self.folder = folder
        self.attempt = attempt
        self._owner = owner
        self._clock = clock
        self._opened = clock()
        self._elapsed_before_s = 0.0
        self._data: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"Claim({str(self.folder)!r}, attempt={self.attempt})"

    @property
    def record(self) -> RunRecord:
        """The run as run.json now says."""
        record = read_run(self.folder)
        if record is None:
            raise ClaimLost(f"{self.folder / 'run.json'} is gone; the run folder was moved away.")
        return record

    def is_highest(self) -> bool:
        """Whether this claim still owns the run: it is there, and there is no higher one."""
        return _exists(claim_path(self.folder, self.attempt)) and not _exists(
            claim_path(self.folder, self.attempt + 1)
        )

    def check(self) -> None:
        """See that this claim still owns the run.

        Raises:
            ClaimLost: If a higher claim exists or the folder is gone.
        """
        self._check_process()
        self._check()

    def update(self, **fields: object) -> None:
        """Change keys of run.json, and count as a heartbeat.

        Raises:
            ClaimLost: If a higher claim exists or the folder is gone; nothing is written.
            TypeError: If a value is not data, with the path to it; nothing is written.
        """
        self._check_process()
        with _writing:
            self._check()
            data = self._current()
            data.update(fields)
            data["heartbeat_at"] = _iso(self._clock())
            data["elapsed_s"] = round(self._elapsed_s(), 3)
            self._write(data)

    def heartbeat(self) -> None:
        """Say in run.json that the owner lives.

        Raises:
            ClaimLost: As `update`.
        """
        self.update()

    def finish(self, state: str, error: BaseException | None = None, **fields: object) -> None:
        """Record how the attempt ended.

        Args:
            state: completed, failed or interrupted.
            error: What ended it; its type, message and traceback are kept.
            **fields: Other keys of run.json to change.

        Raises:
            ClaimLost: As `update`.
            ValueError: If the state is another one.
        """
        if state not in FINAL_STATES:
            raise ValueError(f"A run cannot end as {state!r}. Known: {', '.join(FINAL_STATES)}.")
        from ._code import code_facts

        ending: dict[str, object] = {
            "state": state,
            "ended_at": _iso(self._clock()),
            "error": None if error is None else _error_facts(error),
            "code": code_facts(),  # with the sources that were imported since the start
        }
        self.update(**fields, **ending)

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + max(0.0, self._clock() - self._opened)

    def _check_process(self) -> None:
        if os.getpid() != self._owner.pid:
            raise ClaimLost(
                f"Run {self.folder.name!r} belongs to process {self._owner.pid}, from which this "
                "one was forked. Only that one writes."
            )

    def _check(self) -> None:
        if self.is_highest():
            return
        holder = claimed_record(self.folder)
        if holder is None or not claim_path(self.folder, self.attempt).exists():
            raise ClaimLost(
                f"Run {self.folder.name!r} is gone from {self.folder} (moved to the trash or "
                "renamed?). This process writes nothing more for it."
            )
        raise ClaimLost(
            f"Run {self.folder.name!r} in {self.folder} now belongs to {_who(holder)}, attempt "
            f"{holder.attempt}; this process held attempt {self.attempt}, was taken for gone, and "
            "writes nothing more."
        )

    def _current(self) -> dict[str, object]:
        record = read_run(self.folder)
        if record is not None and record.attempt == self.attempt:
            return dict(record.data)
        return dict(self._data)

    def _write(self, data: dict[str, object], *, durable: bool = True) -> None:
        text = json.dumps(canonical(data, ""), indent=1, ensure_ascii=False)
        # Looking again: a file server that was away may have held the data back for so long that
        # the next owner has written by now.
        path = self.folder / "run.json"
        write_file(path, text + "\n", check=self._check, sync_parent=durable)
        self._data = data


def claim_run(
    folder: Path,
    *,
    run_name: str | None = None,
    experiment_id: str | None = None,
    config_hash: str | None = None,
    grid_id: str | None = None,
    swept: Mapping[str, object] | None = None,
    is_alive: Liveness = is_alive,
    clock: Callable[[], float] = time.time,
) -> Claim:
    """Become the owner of a run folder and write its run.json with the state `running`.

    Of several processes that try at once exactly one succeeds. A process that holds the run
    already gets its own claim again (the same attempt), so re-running a notebook cell works.
    Facts given as None keep what an existing run.json says.

    Args:
        folder: The run folder; made if missing.
        run_name: Name of the run; the folder's name if there is none yet.
        experiment_id: Name of the experiment.
        config_hash: See `config_hash`.
        grid_id: The grid that the run belongs to.
        swept: The swept keys and this run's values.
        is_alive: Tells whether the present holder lives.
        clock: Seconds since the epoch.

    Returns:
        The claim.

    Raises:
        RunClaimed: If the run's holder lives, or nobody can tell that it is gone.
        OSError: If the folder cannot be written.
    """
    folder = Path(folder).absolute()  # as the training code may change the working directory
    (folder / "claims").mkdir(parents=True, exist_ok=True)
    owner = this_process()
    given: dict[str, object] = {
        "run_name": run_name,
        "experiment_id": experiment_id,
        "config_hash": config_hash,
        "grid_id": grid_id,
        "swept": None if swept is None else dict(swept),
    }
    while True:
        # One look, and what follows from it: the number after the one that was judged. With a
        # second look at the folder, a claim made in between would be taken for the judged one.
        holder = claimed_record(folder)
        if (
            holder is not None
            and _is_held_by(holder, owner)
            and _exists(claim_path(folder, holder.attempt))
        ):
            return _take(Claim(folder, holder.attempt, owner, clock), given, holder, reopened=True)
        if holder is not None and holder.state == "running" and is_alive(holder) is not False:
            raise RunClaimed(_held_text(folder, holder))
        attempt = 1 if holder is None else holder.attempt + 1
        if _link(folder, attempt, owner, clock):
            remove_leftovers(folder)
            remove_leftovers(folder / "claims")
            return _take(Claim(folder, attempt, owner, clock), given, holder, reopened=False)
        # Somebody linked this number first. Look again: now that one holds the run.


def _link(folder: Path, attempt: int, owner: Owner, clock: Callable[[], float]) -> bool:
    path = claim_path(folder, attempt)
    facts = {"schema": SCHEMA, "attempt": attempt, "claimed_at": _iso(clock()), **owner.facts()}
    # Not waiting for the disk: run.json follows at once, durable, and says the same.
    finished = write_temporary(path, json.dumps(facts, ensure_ascii=False) + "\n", durable=False)
    try:
        # Unlike O_EXCL this is atomic on NFS too, and the claim is complete when it appears.
        os.link(finished, path)
    except FileNotFoundError:  # whoever was first has taken our file for a leftover
        return False
    except FileExistsError:
        # The reply to a link that succeeded may get lost on NFS, and the repeated call fails.
        if _names_of(finished) != 2:
            return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        finished.replace(path)
    finally:
        finished.unlink(missing_ok=True)
    return True


def _names_of(path: Path) -> int:
    """How many names a file has; 0 where it is gone."""
    try:
        return path.stat().st_nlink
    except FileNotFoundError:
        return 0


def _exists(path: Path) -> bool:
    # Not Path.exists: since Python 3.14 that says no to every error, and a server that is away
    # for a moment must not look like a run that is gone.
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _take(
    claim: Claim, given: dict[str, object], before: RunRecord | None, *, reopened: bool
) -> Claim:
    data: dict[str, object] = {} if before is None else dict(before.data)
    now = _iso(claim._clock())
    found = read_run(claim.folder)
    if found is not None and found.state == "unknown":  # bad input never costs data
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
        **claim._owner.facts(),
        "config_hash": None,
        "grid_id": None,
        "swept": {},
        "progress": None,
        "metrics": {},
        "best": None,
        "code": None,
        "error": None,
    }
    merged = {**defaults, **data}
    merged.update({key: value for key, value in given.items() if value is not None})
    elapsed_s = before.elapsed_s if before is not None else 0.0
    if reopened and before is not None and before.state == "running":
        elapsed_s += max(0.0, claim._clock() - _seconds(before.heartbeat_at, claim._clock()))
    elif not reopened:
        merged["started_at"] = now
    claim._elapsed_before_s = elapsed_s

    from ._code import code_facts

    merged.update(claim._owner.facts())
    merged.update(
        state="running",
        attempt=claim.attempt,
        ended_at=None,
        error=None,
        code=code_facts(),
    )
    claim._data = merged
    with _writing:
        claim._check()
        merged.update(heartbeat_at=now, elapsed_s=round(claim._elapsed_s(), 3))
        # The next heartbeat makes the move durable; after a power cut before, nobody has the run.
        claim._write(merged, durable=False)
    return claim


def _is_held_by(holder: RunRecord, owner: Owner) -> bool:
    mine = (owner.host, owner.pid, owner.process_start)
    return (holder.host, holder.pid, holder.process_start) == mine


def _who(holder: RunRecord) -> str:
    job = ""
    if holder.slurm is not None:
        array, task = holder.slurm.get("array_job_id"), holder.slurm.get("array_task_id")
        job_id = f"{array}_{task}" if array and task else holder.slurm.get("job_id")
        job = f"Slurm job {job_id}, "
    return f"{job}process {holder.pid} on {holder.host or 'an unknown host'}"


def _held_text(folder: Path, holder: RunRecord) -> str:
    age_s = heartbeat_age_s(folder)
    seen = "" if age_s is None else f", last heartbeat {max(0.0, age_s):.0f} s ago"
    if same_machine(holder.process_start, this_process().process_start):
        advice = f"Wait for it, or stop it: kill {holder.pid}."
    else:
        advice = (
            "Wait for it or stop it. If it is dead, the run is free "
            f"{STALE_S // 60} minutes after its last heartbeat."
        )
    return (
        f"Run {holder.run_name!r} in {folder} is held by {_who(holder)} since "
        f"{holder.started_at} (attempt {holder.attempt}{seen}). {advice}"
    )


def _error_facts(error: BaseException) -> dict[str, object]:
    import traceback

    lines = traceback.format_exception(error)
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(lines)[-20_000:],
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _seconds(text: str | None, default: float) -> float:
    try:
        return default if text is None else datetime.fromisoformat(text).timestamp()
    except ValueError:
        return default
