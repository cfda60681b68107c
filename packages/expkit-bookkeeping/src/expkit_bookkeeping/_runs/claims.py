"""Owning a run folder: claims by hard link, and run.json, which only the owner writes."""

import contextlib
import errno
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeGuard

from .._files.append_files import read_file
from .._files.durable import (
    free_bytes,
    make_folder,
    reserve_space,
    write_file,
    write_reserved,
)
from .._files.json_files import NewerFileError
from .._files.paths import exists
from .._files.plain_data import json_data
from .._files.texts import error_facts
from .claim_files import (
    TO_REMOVE,
    TO_RUN,
    ClaimFacts,
    claim_path,
    claim_that_holds,
    highest_claim,
    link_claim,
    make_void,
)
from .folder_ownership import is_shared_claim
from .processes import ProcessIdentity, is_ancestor, same_machine, this_process
from .records import (
    SCHEMA,
    STALE_S,
    Liveness,
    RunRecord,
    claimed_record,
    heartbeat_age_s,
    is_alive,
    lost_if_ownerless,
    owner_record,
    read_run,
)
from .takeover import continued_under, detach, sweep

FINAL_STATES = ("completed", "failed", "interrupted")
SETTLES_WITHIN_S = 5.0  # whoever has claimed a run, has judged it again: mostly milliseconds
MOST_RETRIES = 100  # of a claim that others were faster with

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


class RunClaimed(RuntimeError):
    """The run belongs to a process that is alive, or may be.

    Attributes:
        owner: The record of the run if that process runs it; None if it moves it, for instance.
    """

    owner: RunRecord | None = None


class RunChanged(RunClaimed):
    """The run is no longer what the caller judged it to be, so nothing was claimed or moved."""


class ClaimLost(RuntimeError):
    """The run has been claimed by somebody else since, or its folder was moved away."""


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
            f"Run {self.folder.name!r} in {self.folder} now belongs to {_describe_owner(record)}, "
            f"attempt {record.attempt}; this process held attempt {self.attempt}, was taken for "
            "dead, and writes nothing more."
        )

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
    ignored: Sequence[str] | None = None,
    config: Mapping[str, object] | None = None,
    unless: Callable[[RunRecord | None], str | None] | None = None,
    may_share: bool = False,
    append_files: Sequence[str] = (),
    adds_to: RunRecord | None = None,
    launches: bool = False,
    is_alive: Liveness = is_alive,
    clock: Callable[[], float] = time.time,
) -> Claim:
    """Become the owner of a run folder and write its run.json with the state `running`.

    Of several processes that try at once exactly one succeeds. A process that already owns the
    run gets its own claim again, or another one for the same attempt if it has ended that, so
    re-running a notebook cell works. A process that a launcher has started, directly or not,
    continues the attempt that the launcher has claimed for it. Where a fact is None, an existing
    run.json keeps its own.

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
        ignored: The keys of `expkit.ignore` that `config_hash` leaves out.
        config: The configuration, by which run.json says what has changed since the attempt before;
            its config.yaml is written after this.
        unless: Says why the run must not be claimed after all, or None. It is asked about the
            record that is about to be superseded, None for a new run; and again, if that has
            changed, when nobody else can change it any more. For a claim that this process has
            already it is not asked.
        may_share: Whether the user has named this very folder: then it may hold other files, too,
            and is never moved or purged.
        append_files: Names of more files in the folder that an earlier attempt may still have open
            to append to, such as Hydra's log: they are replaced by copies, as expkit's own are.
        adds_to: A completed run that is added to: no other is claimed in its place, and what its
            training recorded stays until `Claim.begin_training`.
        launches: Whether this process claims the run for a script, which may open it here or in a
            process that it starts.
        is_alive: Says whether the present owner is alive.
        clock: Seconds since the epoch.

    Returns:
        The claim.

    Raises:
        ClaimLost: If the run that is added to is gone from the folder, or completed no more; or if
            this process works on the run still, but lost it to another one: a launcher that was
            stopped, whose script now opens a Bookkeeping.
        RunClaimed: If the run's owner is alive, or may be; if somebody is moving it to the trash;
            or if a newer version wrote the run.
        RunChanged: If `unless` says so; a RunClaimed with its text.
        PermissionError: If the folder is somebody else's; nothing is written.
        OSError: If the folder cannot be written.
    """
    folder = Path(folder).absolute()  # as the training code may change the working directory
    process = this_process()
    facts: dict[str, object] = {
        "run_name": run_name,
        "experiment_id": experiment_id,
        "config_hash": config_hash,
        "grid_id": grid_id,
        "swept": None if swept is None else dict(swept),
        "choices": None if choices is None else dict(choices),
        "unresolved": None if unresolved is None else dict(unresolved),
        "ignored": None if ignored is None else list(ignored),
    }

    def check_addition(record: RunRecord | None) -> None:
        if adds_to is not None:
            check_still_completed(record, adds_to)

    def judge(record: RunRecord | None) -> str | None:
        check_addition(record)
        return None if unless is None else unless(record)

    def has_rival(record: RunRecord) -> bool | None:
        return False if not launches and _is_launcher(record) else is_alive(record)

    adds = adds_to is not None
    for retries_left in range(MOST_RETRIES, -1, -1):
        own_claims = _unfinished_claims(folder)
        try:
            shared = is_shared_claim(folder, may_share=may_share)
            if not adds:
                make_folder(folder / "claims")
            # The next claim is the number after the one that is judged, and is read first: with a
            # second reading, a claim made in between would be taken for the judged one.
            number = highest_claim(folder) + 1
            record = claimed_record(folder, is_alive=is_alive, below=number)
            owned = 0 if record is None else record.claim
            check_not_newer(record)
            check_purpose(folder, owned, below=number, is_alive=is_alive)
            for claim in own_claims:  # the record may be another owner's by now
                claim.check()
            # What this process has ended goes on under a new claim, as the run is anybody's by now.
            is_own = owns(record, process) and record.state != "running" and not own_claims
            if owns(record, process) and not is_own:
                claim = Claim(folder, record.claim, record.attempt, process, clock)
                with _released_if_it_fails(claim):
                    if claim.is_highest():
                        if adds_to is not None:
                            check_still_completed(lost_if_ownerless(record, is_alive), adds_to)
                        if record.heartbeat_at is None:  # a full disk came before run.json
                            sweep(folder, claim.check)
                            detach(folder, claim.check, others=append_files)
                        return _write_start(
                            claim, facts, record, reopened=True, adds=adds, launches=launches
                        )
                claim.release()  # a higher one came to nothing, as only `is_alive` says
            judge_record = check_addition if is_own else judge
            check_free(folder, number, record, has_rival, judge_record)
            continues = is_own or (record is not None and not launches and _is_launcher(record))
            former_attempt = 0 if record is None else record.attempt
            attempt = former_attempt + (not continues)
            if not link_claim(folder, number, process, clock, attempt=attempt, shared=shared):
                continue  # somebody linked this number first and owns the run now: read again
            claim = Claim(folder, number, attempt, process, clock)
            with _released_if_it_fails(claim):
                sweep(folder, claim.check, deep=record is not None)
                record = judge_again(folder, number, process, record, has_rival, judge_record)
                if record is not None and record.attempt != former_attempt:
                    # An owner that was taken for gone has started in between.
                    make_void(folder, number, process)
                    claim.release()
                    continue
                if record is not None and not continues:
                    detach(folder, claim.check, others=append_files)
                if record is not None and not (adds or continues):
                    facts["continued"] = continued_under(
                        record,
                        config,
                        attempt=attempt,
                        config_hash=config_hash,
                        unresolved=unresolved or (),
                    )
                return _write_start(
                    claim, facts, record, reopened=is_own, adds=adds, launches=launches
                )
        except (FileNotFoundError, ClaimLost) as error:
            # Somebody has moved the folder, or a process that judged an earlier run in its place
            # holds a claim for a moment.
            if isinstance(error, ClaimLost) and (adds or own_claims):
                raise
            if not retries_left:
                raise RunClaimed(f"Run {folder.name!r} in {folder} is not free: {error}") from error
    raise RunClaimed(
        f"Run {folder.name!r} in {folder} has been claimed by others {MOST_RETRIES} times while "
        "this process tried. Try again when they are done."
    )


@contextlib.contextmanager
def _released_if_it_fails(claim: Claim) -> Iterator[None]:
    """Nobody works on a run whose start failed, so the next try is not held to this claim."""
    try:
        yield
    except BaseException:
        claim.release()
        raise


def _is_launcher(record: RunRecord) -> bool:
    """Whether a run is held by a launcher, or Hydra's callback, that has started this process."""
    return (
        record.state == "running"
        and record.data.get("launches") is True
        and record.pid is not None
        and record.process_start is not None
        and is_ancestor(record.pid, record.process_start)
    )


def owns(record: RunRecord | None, process: ProcessIdentity) -> TypeGuard[RunRecord]:
    """Whether a process claimed this run, and its claim is there."""
    return (
        record is not None
        and is_owned_by(record, process)
        and exists(claim_path(record.folder, record.claim))
    )


def check_free(
    folder: Path,
    number: int,
    record: RunRecord | None,
    is_alive: Liveness,
    unless: Callable[[RunRecord | None], str | None] | None,
) -> None:
    """Check that a run with this record may be claimed with claim `number`.

    Raises:
        RunClaimed: If not; see `claim_run`.
    """
    check_not_newer(record)
    check_purpose(folder, 0 if record is None else record.claim, below=number, is_alive=is_alive)
    if record is not None and record.state == "running" and is_alive(record) is not False:
        claimed = RunClaimed(claimed_message(folder, record))
        claimed.owner = record
        raise claimed
    if unless is None:
        return
    reason = unless(None if record is None else lost_if_ownerless(record, is_alive))
    if reason is not None:
        raise RunChanged(reason)


def judge_again(
    folder: Path,
    number: int,
    process: ProcessIdentity,
    judged: RunRecord | None,
    is_alive: Liveness,
    unless: Callable[[RunRecord | None], str | None] | None,
) -> RunRecord | None:
    """Judge a run once more, under this process's claim `number`, which keeps others away.

    What was judged before the claim may have ended, or have moved away, before it.

    Returns:
        The record of the owner before.

    Raises:
        RunClaimed: If the run is not to be claimed after all; then the claim is void.
    """
    try:
        record = claimed_record(folder, is_alive=is_alive, below=number)
        if record != judged:
            check_free(folder, number, record, is_alive, unless)
    except BaseException:
        make_void(folder, number, process)
        raise
    return record


def completed_since(judged: RunRecord | None) -> Callable[[RunRecord | None], str | None]:
    """An `unless` for `claim_run`: not if others have completed the run since it was judged."""

    def unless(record: RunRecord | None) -> str | None:
        if record is None or record.state != "completed":
            return None
        if judged is not None and (judged.id, judged.claim, judged.state) == (
            record.id,
            record.claim,
            "completed",
        ):
            return None
        return (
            f"Run {record.run_name!r} in {record.folder} was completed by another process "
            f"meanwhile ({_describe_owner(record)}). Nothing was changed. The same command again "
            "decides anew."
        )

    return unless


def check_unfinished_claims(folder: Path) -> None:
    """Check that this process still has the run that it is working on, if it is.

    What the folder holds by now says nothing of that: another process may have completed the run.

    Raises:
        ClaimLost: If it has lost it.
    """
    for claim in _unfinished_claims(folder):
        claim.check()


def _unfinished_claims(folder: Path) -> list[Claim]:
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


def _write_start(
    claim: Claim,
    facts: dict[str, object],
    former: RunRecord | None,
    *,
    reopened: bool,
    adds: bool,
    launches: bool,
) -> Claim:
    """Write the run.json with which an attempt starts, or continues if it is reopened."""
    data: dict[str, object] = {} if former is None else dict(former.data)
    now = _iso(claim._clock())
    current = read_run(claim.folder)
    check_not_newer(current)
    if current is not None and current.state == "unknown":  # bad input never costs data
        with contextlib.suppress(OSError):
            damaged = read_file(claim.folder / "run.json")
            write_file(claim.folder / "run.json.damaged", damaged, check=claim.check)
    defaults: dict[str, object] = {
        "schema": SCHEMA,
        "id": os.urandom(16).hex(),
        "run_name": claim.folder.name,
        "experiment_id": None,
        "state": "running",
        "attempt": claim.attempt,
        "claim": claim.number,
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
        "ignored": None,
        "progress": None,
        "continued": [],
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

    merged.update(claim._process.facts())
    merged.update(
        state="running", attempt=claim.attempt, claim=claim.number, ended_at=None, error=None
    )
    claim._only_adds = adds
    for key, holds in (("only_adds", adds), ("launches", launches)):
        merged.pop(key, None)
        if holds:
            merged[key] = True
    if not adds:
        from .._provenance.code import code_facts
        from .._provenance.code_records import record_code_of_run

        code = record_code_of_run(claim.folder, code_facts(), check=claim.check)
        merged.update(returned=None, code=code)
        best = merged["best"]
        if isinstance(best, Mapping) and best.get("step") is None:  # returned, and never logged
            metrics = merged["metrics"]
            assert isinstance(metrics, Mapping)
            kept = {name: value for name, value in metrics.items() if name != best.get("metric")}
            merged.update(best=None, metrics=kept)
    claim._data = merged
    with _update_lock:
        claim._check_highest()
        merged.update(heartbeat_at=now, elapsed_s=round(claim._elapsed_s(), 3))
        # The next heartbeat makes the move durable; a power cut before then frees the run.
        claim._write(merged, durable=False)
        _free_reserve(claim.folder)  # the folder of this name may be another one by now
        # Takes milliseconds: where there is room, the first heartbeat does it.
        if free_bytes(claim.folder) < LITTLE_ROOM_BYTES:
            _reserve(claim.folder)
    return claim


def holding_claim(
    folder: Path, above: int, is_alive: Liveness = is_alive, *, below: int | None = None
) -> ClaimFacts | None:
    """The claim that holds a run, of those above `above` and below `below`; None if all are void.

    Raises:
        NewerFileError: If a newer version wrote a claim.
    """

    def is_written(claim: ClaimFacts) -> bool:
        record = read_run(folder)
        return record is not None and record.claim >= claim.number

    def is_void(claim: ClaimFacts) -> bool:
        is_gone = not is_written(claim) and is_alive(owner_record(folder, claim)) is False
        return is_gone and not is_written(claim)  # it may have written just before its end

    return claim_that_holds(folder, above, is_void, below=below)


def check_purpose(
    folder: Path,
    above: int,
    error: type[RuntimeError] = RunClaimed,
    *,
    below: int | None = None,
    is_alive: Liveness = is_alive,
) -> None:
    """Check that no claim between these two holds a run folder for anything else than to run.

    Raises:
        RunClaimed: If one does; or the error that is given.
    """
    if below == above + 1:
        return
    claim = holding_claim(folder, above, is_alive, below=below)
    if claim is None or claim.purpose == TO_RUN:
        return
    holder = (
        f"process {claim.pid} on {claim.host or 'an unknown host'} since {claim.claimed_at} "
        f"(claim {claim.number:04d})"
    )
    if claim.purpose != TO_REMOVE:
        raise error(
            f"Run {folder.name!r} in {folder} is held for {claim.purpose!r}, not to run, by "
            f"{holder}. This version of expkit-bookkeeping cannot take it over; a newer one can."
        )
    advice = "Try again in a moment."
    if not same_machine(claim.process_start, this_process().process_start):
        advice += f" If that process is dead, the run is free {STALE_S // 60} minutes after."
    raise error(
        f"Run {folder.name!r} in {folder} is being moved to the trash by {holder}. {advice}"
    )


def check_still_completed(record: RunRecord | None, judged: RunRecord) -> None:
    """Check that a folder still holds the completed run that was found in it.

    Args:
        record: What the folder holds now.
        judged: The completed run.

    Raises:
        ClaimLost: If it was moved away, or is being or was trained again; nothing may be written.
    """
    if record is None or record.id != judged.id:
        place = "" if record is None else f" Another run, {record.run_name!r}, has its place now."
        raise ClaimLost(
            f"Run {judged.run_name!r} is gone from {judged.folder} (moved to the trash or "
            f"renamed?).{place} Nothing was written; look for it in .trash/removed.jsonl of the "
            "experiment, and open it where it is."
        )
    if record.state != "completed":
        raise ClaimLost(
            f"Run {record.run_name!r} in {record.folder} was completed when it was opened here, "
            f"and is {record.state} now: {_describe_owner(record)} has started attempt "
            f"{record.attempt}. Nothing was written. Open the run again when that attempt has "
            "ended."
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
    age_s = heartbeat_age_s(record)
    heartbeat = "" if age_s is None else f", last heartbeat {max(0.0, age_s):.0f} s ago"
    if record.pid and record.process_start and is_ancestor(record.pid, record.process_start):
        advice = (
            "That process has started this one. If they are ranks of one distributed run, say "
            "which this one is: in the environment variable RANK, or Bookkeeping(rank=…)."
        )
    elif same_machine(record.process_start, this_process().process_start):
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


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _seconds(text: str | None, default: float) -> float:
    try:
        return default if text is None else datetime.fromisoformat(text).timestamp()
    except ValueError:
        return default
