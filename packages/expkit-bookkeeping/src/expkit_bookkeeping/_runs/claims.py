"""The right to write one run's folder, and run.json, which only its owner writes."""

import contextlib
import errno
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from .._files.append_files import read_file
from .._files.durable import free_bytes, reserve_space, write_file, write_reserved
from .._files.json_files import NewerFileError
from .._files.paths import exists
from .._files.plain_data import json_data
from .._files.texts import error_facts
from .claim_files import TO_REMOVE, TO_RUN, claim_path
from .processes import ProcessIdentity
from .records import SCHEMA, RunRecord, claimed_record, read_run
from .refusals import (
    ClaimLost,
    check_not_newer,
    check_purpose,
    describe_owner,
    holding_claim,
)

FINAL_STATES = ("completed", "failed", "interrupted")
SETTLES_WITHIN_S = 5.0  # whoever has claimed a run, has judged it again: mostly milliseconds

# By run folder: space in which run.json says how the run ended if the disk is full by then.
_reserves: dict[Path, int | None] = {}
RESERVED_BYTES = 1 << 16  # an error of `error_facts` takes half of it
LITTLE_ROOM_BYTES = 1 << 30

# A launcher and the Bookkeeping inside it may hold one claim together, and each has a thread that
# writes heartbeats: reading, changing and writing run.json is one step.
_update_lock = threading.RLock()


def _renew_lock() -> None:
    """Make a new lock in a forked child: the old one may be held by a thread of the parent."""
    global _update_lock
    _update_lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_lock)


_unfinished: weakref.WeakSet["Claim"] = weakref.WeakSet()  # what this process still works on


class Claim:
    """The right to write one run's folder, until a higher claim exists. Made by `claim_run`.

    Attributes:
        folder: The run folder.
        number: Of the claim: that of its file.
        attempt: How often the run has been started, this time included. Claims to remove and void
            ones count only for `number`.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        attempt: int,
        process: ProcessIdentity,
        clock: Callable[[], float],
    ) -> None:
        self.folder = folder
        self.number = number
        self.attempt = attempt
        self._process = process
        self._clock = clock
        self._opened_at_s = clock()
        self._elapsed_before_s = 0.0
        self._data: dict[str, object] = {}
        self._only_adds = False  # to a completed run, whose training recorded its own code
        # As text: every write asks for them, and making a Path takes longer than asking.
        self._path = os.fspath(claim_path(folder, number))
        self._next_path = os.fspath(claim_path(folder, number + 1))
        _unfinished.add(self)

    def __repr__(self) -> str:
        return f"Claim({str(self.folder)!r}, number={self.number}, attempt={self.attempt})"

    @property
    def record(self) -> RunRecord:
        """The run as run.json describes it now."""
        record = read_run(self.folder)
        if record is None:
            raise ClaimLost(f"{self.folder / 'run.json'} is gone; the run folder was moved away.")
        return record

    @property
    def is_handed_on(self) -> bool:
        """Whether a process that this launcher has started continues the attempt, or has."""
        record = read_run(self.folder)
        return record is not None and record.claim > self.number and record.attempt == self.attempt

    def is_highest(self) -> bool:
        """Whether this claim still owns the run: it exists, and there is no higher one.

        Higher ones that are void do not count.
        """
        if not exists(self._path):
            return False
        return not exists(self._next_path) or not self._is_overtaken()

    def check(self) -> None:
        """Check that this claim still owns the run.

        Raises:
            ClaimLost: If a higher claim exists or the folder is gone.
        """
        self._check_process()
        self._check_highest()

    def start(
        self,
        facts: Mapping[str, object],
        former: RunRecord | None,
        *,
        reopened: bool,
        adds: bool,
        launches: bool,
    ) -> None:
        """Write the run.json with which an attempt starts, or continues if it is reopened.

        Args:
            facts: What the caller says of the run; where one is None, run.json keeps its own.
            former: The record of the run before this claim; None for a new run.
            reopened: Whether the attempt is this process's already.
            adds: Whether the run is completed, and only added to.
            launches: Whether the claim is for a script that this process starts.

        Raises:
            ClaimLost: If a higher claim exists or the folder is gone.
            RunClaimed: If a newer version has written the run.
        """
        self._keep_damaged_record()
        now = _iso(self._clock())
        data = {**_new_run(self.folder.name, now), **({} if former is None else former.data)}
        data.update({key: value for key, value in facts.items() if value is not None})
        self._elapsed_before_s = former.elapsed_s if former is not None else 0.0
        if reopened and former is not None and former.state == "running":
            now_s = self._clock()
            self._elapsed_before_s += max(0.0, now_s - _seconds(former.heartbeat_at, now_s))
        elif not reopened:
            data["started_at"] = now
        data.update(self._process.facts())
        data.update(
            state="running", attempt=self.attempt, claim=self.number, ended_at=None, error=None
        )
        self._only_adds = adds
        for key, holds in (("only_adds", adds), ("launches", launches)):
            data.pop(key, None)
            if holds:
                data[key] = True
        if not adds:
            from .._provenance.code import code_facts
            from .._provenance.code_records import record_code_of_run

            code = record_code_of_run(self.folder, code_facts(), check=self.check)
            data.update(returned=None, code=code)
            _forget_returned_best(data)
        self._data = data
        with _update_lock:
            self._check_highest()
            data.update(heartbeat_at=now, elapsed_s=round(self._elapsed_s(), 3))
            # The next heartbeat makes the move durable; a power cut before then frees the run.
            self._write(data, durable=False)
            _free_reserve(self.folder)  # the folder of this name may be another one by now
            # Takes milliseconds: where there is room, the first heartbeat does it.
            if free_bytes(self.folder) < LITTLE_ROOM_BYTES:
                _reserve(self.folder)

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
            if not self._only_adds or data["state"] != "running":
                data.pop("only_adds", None)
            data["heartbeat_at"] = _iso(self._clock())
            data["elapsed_s"] = round(self._elapsed_s(), 3)
            self._write(data)
            if data["state"] == "running":
                _reserve(self.folder)

    def heartbeat(self) -> None:
        """Record in run.json that the owner is alive.

        Raises:
            ClaimLost: As `update`.
        """
        self.update()

    def begin_training(self, **fields: object) -> None:
        """Record the code of an attempt that until now has only added to a completed run.

        Args:
            **fields: Other keys of run.json to change.

        Raises:
            ClaimLost: As `update`.
        """
        from .._provenance.code import code_facts
        from .._provenance.code_records import record_code_of_run

        self.check()
        self._only_adds = False
        code = record_code_of_run(self.folder, code_facts(), check=self.check)
        self.update(code=code, returned=None, **fields)

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
        from .._provenance.code import code_facts
        from .._provenance.code_records import record_code_of_run

        self.check()
        ending: dict[str, object] = {
            "state": state,
            "ended_at": _iso(self._clock()),
            "error": None if error is None else error_facts(error),
        }
        if not self._only_adds:
            # Whatever modules of the user's do when they are looked at: the end is recorded.
            with contextlib.suppress(Exception):
                # with the sources imported since the start
                ending["code"] = record_code_of_run(self.folder, code_facts(), check=self.check)
        self.update(**fields, **ending)
        self.release()

    def release(self) -> None:
        """Say that this process is done with the run, however it ended."""
        _unfinished.discard(self)
        _free_reserve(self.folder)

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + max(0.0, self._clock() - self._opened_at_s)

    def _check_process(self) -> None:
        if os.getpid() != self._process.pid:
            raise ClaimLost(
                f"Run {self.folder.name!r} belongs to process {self._process.pid}, from which this "
                "one was forked. Only that one writes."
            )

    def _is_overtaken(self) -> bool:
        """Whether a higher claim holds the run; waits while its owner is still judging the run."""
        deadline_s = time.monotonic() + SETTLES_WITHIN_S
        while True:
            try:
                holder = holding_claim(self.folder, self.number)
            except NewerFileError:
                return True
            if holder is None:
                return False
            record = read_run(self.folder)
            is_settled = record is None or record.claim >= holder.number
            if is_settled or holder.purpose not in (TO_RUN, TO_REMOVE):
                return True
            if time.monotonic() > deadline_s:
                return True
            time.sleep(0.02)

    def _check_highest(self) -> None:
        if self.is_highest():
            return
        record = claimed_record(self.folder)
        if record is None or not claim_path(self.folder, self.number).exists():
            raise ClaimLost(
                f"Run {self.folder.name!r} is gone from {self.folder} (moved to the trash or "
                "renamed?). This process writes nothing more for it."
            )
        if record.is_newer:
            raise ClaimLost(f"Run {record.run_name!r} is left as it is: {record.reason}")
        check_purpose(self.folder, self.number, ClaimLost)
        raise ClaimLost(
            f"Run {self.folder.name!r} in {self.folder} now belongs to {describe_owner(record)}, "
            f"attempt {record.attempt}; this process held attempt {self.attempt}, was taken for "
            "dead, and writes nothing more."
        )

    def _keep_damaged_record(self) -> None:
        """Keep a run.json that cannot be read under another name: bad input never costs data."""
        current = read_run(self.folder)
        check_not_newer(current)
        if current is not None and current.state == "unknown":
            with contextlib.suppress(OSError):
                damaged = read_file(self.folder / "run.json")
                write_file(self.folder / "run.json.damaged", damaged, check=self.check)

    def _current_data(self) -> dict[str, object]:
        record = read_run(self.folder)
        if record is not None and record.claim == self.number:
            return dict(record.data)
        return dict(self._data)

    def _write(self, data: dict[str, object], *, durable: bool = True) -> None:
        text = json.dumps(json_data(data), indent=1, ensure_ascii=False) + "\n"
        # Half a surrogate pair, as of a file name that is no UTF-8, becomes JSON's own escape.
        encoded = text.encode("utf-8", "backslashreplace")
        # Checked again before the move: a file server that was away may have held the data back
        # for so long that the next owner has written by now.
        path = self.folder / "run.json"
        try:
            write_file(path, encoded, check=self._check_highest, sync_parent=durable)
        except OSError as problem:
            if data["state"] == "running" or problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            reserve = _reserves.get(self.folder)
            if reserve is None or len(encoded) > RESERVED_BYTES:
                raise
            write_reserved(reserve, path, encoded, check=self._check_highest)
        self._data = data


def _new_run(run_name: str, now: str) -> dict[str, object]:
    """The run.json of a new run, without its owner."""
    return {
        "schema": SCHEMA,
        "id": os.urandom(16).hex(),
        "run_name": run_name,
        "experiment_id": None,
        "state": "running",
        "attempt": 0,
        "claim": 0,
        "created_at": now,
        "started_at": now,
        "heartbeat_at": now,
        "ended_at": None,
        "elapsed_s": 0.0,
        "host": None,
        "pid": None,
        "process_start": None,
        "slurm": None,
        "config_hash": None,
        "grid_id": None,
        "swept": {},
        "choices": {},
        "unresolved": {},
        "ignored": None,
        "progress": None,
        "continued": [],
        "metrics": {},
        "best": None,
        "returned": None,
        "code": None,
        "error": None,
    }


def _forget_returned_best(data: dict[str, object]) -> None:
    """Forget a best value that the attempt before returned and never logged."""
    best, metrics = data["best"], data["metrics"]
    if isinstance(best, Mapping) and best.get("step") is None:
        assert isinstance(metrics, Mapping)
        kept = {name: value for name, value in metrics.items() if name != best.get("metric")}
        data.update(best=None, metrics=kept)


def check_unfinished_claims(folder: Path) -> None:
    """Check that this process still has the run that it is working on, if it is.

    What the folder holds by now says nothing of that: another process may have completed the run.

    Raises:
        ClaimLost: If it has lost it.
    """
    for claim in unfinished_claims(folder):
        claim.check()


def unfinished_claims(folder: Path) -> list[Claim]:
    """Claims of a run that this process is still working on."""
    pid = os.getpid()
    return [
        claim
        for claim in list(_unfinished)
        if claim.folder == folder and claim._process.pid == pid and not claim.is_handed_on
    ]


def _reserve(folder: Path) -> None:
    if folder not in _reserves:
        _reserves[folder] = reserve_space(folder, RESERVED_BYTES)


def _free_reserve(folder: Path) -> None:
    reserve = _reserves.pop(folder, None)
    if reserve is not None:
        os.close(reserve)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _seconds(text: str | None, default: float) -> float:
    try:
        return default if text is None else datetime.fromisoformat(text).timestamp()
    except ValueError:
        return default
