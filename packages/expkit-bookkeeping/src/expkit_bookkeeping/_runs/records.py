"""Reading run.json, of one run or all runs of an experiment, and whether owners are alive."""

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from os import PathLike
from pathlib import Path

from .._files.json_files import (
    NewerFileError,
    UnreadableFileError,
    check_schema,
    decode_shallow,
    may_be_deep,
    parse_json,
    read_bounded,
)
from .claim_files import (
    TO_REMOVE,
    TO_RUN,
    ClaimFacts,
    claim_path,
    claim_that_holds,
    count_or_none,
    highest_claim,
    mapping_or_none,
    read_claim,
    text_or_none,
)
from .processes import process_is_alive, same_boot, same_machine, this_process

STATES = ("running", "completed", "failed", "interrupted")
SCHEMA = 1  # of run.json
BATCH = 100  # files parsed at once
STALE_S = 30 * 60  # an owner that cannot be asked counts as gone after so long without a heartbeat
REBOOTED_STALE_S = 2 * 60  # the same host has rebooted: four heartbeats have been missed
COPIED_S = 24 * 60 * 60  # clocks differ by less: such a file was written by a copy, not its owner


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run.json, as docs/formats.md describes it. Times are ISO 8601 in UTC.

    Attributes:
        folder: The run folder.
        run_name: Its name in the experiment.
        state: `running`, `completed`, `failed` or `interrupted`; derived: `lost` (running, and its
            owner is gone) and `unknown` (see `reason`).
        id: Random, made at the first claim, the same in all attempts.
        attempt: How often the run has been started, from 1; 0 if it never was.
        claim: Number of the claim that wrote the file.
        experiment_id: The experiment's name; None outside an experiment.
        config_hash: SHA-256 of the configuration; None if none was computed.
        grid_id: The grid that started it; None for a single run.
        swept: By swept key the value of this run.
        choices: By config group the chosen option, or several.
        unresolved: By key the text that depended on the machine or the time.
        ignored: Keys that `config_hash` leaves out; None if nobody has recorded them.
        metrics: By metric its last value.
        best: `metric`, `direction`, `value` and `step` of the best value; None if there is none.
        returned: What the task function returned, as tagged JSON.
        progress: The last `step` and the `total` of epochs; None before the first.
        continued: How the configuration changed while the run was trained, one entry per change.
        created_at: When the run was first claimed.
        started_at: When the attempt began.
        heartbeat_at: When its owner last said that it lives.
        ended_at: When it ended; None while it runs.
        elapsed_s: Seconds spent in the run, over all attempts.
        host: Name of the owner's machine.
        pid: Process of the owner there.
        process_start: What tells that process from a later one with its pid.
        slurm: The ids of its Slurm job; None outside Slurm.
        code: Commit, `dirty` flag and the hash of the sources; None if unknown.
        error: `type`, `message` and `traceback`; None if it did not fail.
        reason: Why the state is `unknown`.
        is_newer: Whether a newer version wrote it, so that nothing in the folder may change.
        data: The file's whole content, with keys that this version does not know.
    """

    folder: Path
    run_name: str
    state: str
    id: str | None = None
    attempt: int = 0
    claim: int = 0  # where older files do not say: that of the attempt
    experiment_id: str | None = None
    config_hash: str | None = None
    grid_id: str | None = None
    swept: Mapping[str, object] = field(default_factory=dict)
    choices: Mapping[str, object] = field(default_factory=dict)
    unresolved: Mapping[str, object] = field(default_factory=dict)
    ignored: Sequence[str] | None = None  # None as before 0.2
    metrics: Mapping[str, object] = field(default_factory=dict)
    best: Mapping[str, object] | None = None
    returned: object = None
    progress: Mapping[str, object] | None = None
    continued: Sequence[Mapping[str, object]] = ()
    created_at: str | None = None
    started_at: str | None = None
    heartbeat_at: str | None = None
    ended_at: str | None = None
    elapsed_s: float = 0.0
    host: str | None = None
    pid: int | None = None
    process_start: str | None = None
    slurm: Mapping[str, object] | None = None
    code: Mapping[str, object] | None = None
    error: Mapping[str, object] | None = None
    reason: str | None = None
    is_newer: bool = False
    data: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def tries(self) -> int:
        """How often the run has been started with the configuration that it has now."""
        begun = count_or_none(self.continued[-1].get("attempt")) if self.continued else 1
        return self.attempt - (begun or 1) + 1


Liveness = Callable[[RunRecord], bool | None]


def read_run(folder: str | PathLike[str]) -> RunRecord | None:
    """Read a run's run.json as it is: the state of a run whose owner is gone is still `running`.

    Args:
        folder: The run folder.

    Returns:
        The record; its state is `unknown`, with a reason, if run.json is damaged or a newer version
        wrote it. None if there is no run.json.
    """
    folder = Path(folder)
    return _read([(str(folder), folder.name)])[0]


def is_alive(record: RunRecord) -> bool | None:
    """Whether the owner of a running run is alive: True, False, or None if it is uncertain.

    On the owner's machine the process table is asked. Elsewhere the owner counts as gone after 30
    minutes without a heartbeat, measured by the file system's clock and not by this machine's; and
    at once if run.json was written more than a day after the last heartbeat, by copying it.

    Args:
        record: A record whose state is `running`.
    """
    process = this_process()
    if record.pid is not None and same_machine(record.process_start, process.process_start):
        return process_is_alive(record.pid, str(record.process_start))
    if record.slurm is not None and process.slurm is not None:
        same_job = record.slurm.get("job_id") == process.slurm["job_id"]
        if same_job and _restarts(record.slurm) < _restarts(process.slurm):
            return False  # this job, before it was requeued
    # Not if only the container differs: in another one the process may live on unseen.
    rebooted = (
        record.host == process.host
        and record.slurm is None
        and not same_boot(record.process_start, process.process_start)
    )
    age_s = None if _wrote_just_now(record.folder) else heartbeat_age_s(record)
    if age_s is not None and age_s > (REBOOTED_STALE_S if rebooted else STALE_S):
        return False
    # A copy without times has new files with old heartbeats; their owner writes elsewhere.
    return False if _heartbeat_before_file_s(record) > COPIED_S else None


def _heartbeat_before_file_s(record: RunRecord) -> float:
    """Seconds from the last heartbeat, by its owner's clock, to when run.json was written here."""
    if record.heartbeat_at is None:
        return 0.0
    try:
        if claim_that_holds(record.folder, record.claim, _is_to_remove) is not None:
            return 0.0  # the next owner has not written yet
        heartbeat_s = datetime.fromisoformat(record.heartbeat_at).timestamp()
        return (record.folder / "run.json").stat().st_mtime - heartbeat_s
    except (OSError, ValueError, OverflowError, NewerFileError):
        return 0.0


def _is_to_remove(claim: ClaimFacts) -> bool:
    return claim.purpose == TO_REMOVE


def find_runs(experiment: str | PathLike[str], *, is_alive: Liveness = is_alive) -> list[RunRecord]:
    """All runs of an experiment that were ever claimed, sorted by name.

    The state `lost` is derived: run.json says `running`, and the owner is gone. If that is
    uncertain, the run counts as running.

    Args:
        experiment: The folder that holds `training/`.
        is_alive: Says whether the owner of a running run is alive.

    Returns:
        One record per run folder with a run.json or a claim.
    """
    with collector_paused():
        records = iter_runs(Path(experiment), is_alive=is_alive)
        return sorted(records, key=lambda record: record.run_name)


def iter_runs(experiment: Path, *, is_alive: Liveness = is_alive) -> Iterator[RunRecord]:
    """The runs of `find_runs`, one after another, in no order."""
    try:
        with os.scandir(Path(experiment) / "training") as entries:
            folders = [
                (entry.path, entry.name)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir()
            ]
    except FileNotFoundError:
        return
    for start in range(0, len(folders), BATCH):
        batch = folders[start : start + BATCH]
        for (path, _), written in zip(batch, _read(batch), strict=True):
            # None: killed between its claim and its run.json
            record = claimed_record(Path(path)) if written is None else written
            if record is not None:
                yield lost_if_ownerless(record, is_alive)


def find_run(folder: str | PathLike[str], *, is_alive: Liveness = is_alive) -> RunRecord | None:
    """One run as `find_runs` gives it: as its present owner claimed it, or `lost`.

    Args:
        folder: The run folder.
        is_alive: Says whether the owner of a running run is alive.

    Returns:
        The record; its state is `unknown`, with a reason, if run.json is damaged. None if there is
        neither a run.json nor a claim.
    """
    record = claimed_record(Path(folder))
    return None if record is None else lost_if_ownerless(record, is_alive)


def lost_if_ownerless(record: RunRecord, is_alive: Liveness) -> RunRecord:
    """The record as `find_runs` gives it: `lost` if run.json says `running` and nobody runs it."""
    if record.state != "running" or is_alive(record) is not False:
        return record
    # It may have ended between the two checks; then run.json says so by now.
    current = read_run(record.folder) or record
    if current.claim != record.claim:  # the next owner's, or that before one that wrote nothing
        return lost_if_ownerless(current, is_alive)
    if current.state != "running":
        return current
    # What the training of a completed run recorded is whole while an attempt only adds to it.
    return replace(current, state="completed" if current.data.get("only_adds") is True else "lost")


def _wrote_just_now(folder: Path) -> bool:
    """Whether run.json is from the last minute by this machine's clock: the exact age costs a file.

    If the clocks differ by more, a dead owner is noticed a minute later.
    """
    try:
        return 0 <= time.time() - (folder / "run.json").stat().st_mtime < 60
    except OSError:
        return False


def heartbeat_age_s(record: RunRecord) -> float | None:
    """Seconds since the run's owner last wrote, by the file system's clock; None if unknown."""
    import tempfile

    folder = record.folder
    written_at = []
    for path in (folder / "run.json", claim_path(folder, record.claim)):
        with contextlib.suppress(OSError):
            written_at.append(path.stat().st_mtime)
    try:
        # The clocks of two nodes may differ by more than a heartbeat; the server has only one.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock.", suffix=".tmp") as probe:
            now = os.fstat(probe.fileno()).st_mtime
    except OSError:
        return None
    return now - max(written_at) if written_at else None


def claimed_record(
    folder: Path, *, is_alive: Liveness | None = None, below: int | None = None
) -> RunRecord | None:
    """The record of a run and its present owner, even if that has not written run.json yet.

    A claim for anything else than to run is no attempt, and its owner is not the run's.

    Args:
        folder: The run folder.
        is_alive: Says whether an owner is alive: one that is gone before it has written anything
            has changed nothing, and run.json counts, if there is one. None: it is not asked.
        below: Number of a claim: the record is that of the owner before it.
    """
    # Claims first: a run.json that is read later can only be newer than what they say.
    number = highest_claim(folder) if below is None else below - 1
    record = read_run(folder)
    written = 0 if record is None else record.claim
    if record is not None and record.is_newer:
        return record
    unwritten = None
    try:
        while number > written:
            claim = read_claim(folder, number)
            if claim.purpose == TO_RUN:
                base = record or RunRecord(folder, folder.name, "running")
                attempt = claim.attempt or base.attempt + 1
                owner = replace(owner_record(folder, claim, base), attempt=attempt)
                unwritten = unwritten or owner
                if is_alive is None or is_alive(owner) is not False:
                    return owner
                last = read_run(folder)  # it may have written just before its end
                if last is not None and last.claim >= number:
                    return last
            number -= 1
    except NewerFileError as error:
        return _unknown(folder, folder.name, error, str(claim_path(folder, number)))
    is_known = record is not None and record.state != "unknown"
    return record if is_known else unwritten or record


def owner_record(folder: Path, claim: ClaimFacts, base: RunRecord | None = None) -> RunRecord:
    """A record with the owner of a claim, for a `Liveness` to say whether that is alive."""
    return replace(
        base or RunRecord(folder, folder.name, "running"),
        state="running",
        claim=claim.number,
        started_at=claim.claimed_at,
        heartbeat_at=None,
        ended_at=None,
        host=claim.host,
        pid=claim.pid,
        process_start=claim.process_start,
        slurm=claim.slurm,
        error=None,
    )


def _read(folders: Sequence[tuple[str, str]]) -> list[RunRecord | None]:
    """The records of run folders, each a path and a name; None for one without run.json."""
    paths = [f"{path}/run.json" for path, _ in folders]
    raws = [read_bounded(path) for path in paths]
    parsed = iter(_parsed([(raw, path) for raw, path in zip(raws, paths, strict=True) if raw]))
    records: list[RunRecord | None] = []
    for (path, name), raw, file in zip(folders, raws, paths, strict=True):
        if raw is None:
            records.append(None)
            continue
        data = next(parsed) if raw else UnreadableFileError(f"{file} is damaged: it is empty")
        if isinstance(data, dict):
            newer = _newer_file(data, file)
            if newer is None and data.get("state") in STATES:
                records.append(_record(Path(path), name, data))
                continue
            if newer is not None:
                data = newer
        records.append(_unknown(Path(path), name, data, file))
    return records


def _unknown(folder: Path, name: str, data: object, file: str) -> RunRecord:
    """The record of a run whose run.json says nothing that can be relied on."""
    if isinstance(data, UnreadableFileError):
        is_newer = isinstance(data, NewerFileError)
        return RunRecord(folder, name, "unknown", reason=str(data), is_newer=is_newer)
    state = data.get("state") if isinstance(data, dict) else type(data).__name__
    shown = repr(state) if len(repr(state)) < 80 else f"{repr(state)[:80]}…"
    reason = f"{file} has no known state: {shown}; known: {', '.join(STATES)}"
    return RunRecord(folder, name, "unknown", reason=reason)


def _newer_file(data: dict[str, object], file: str) -> UnreadableFileError | None:
    if data.get("schema", SCHEMA) == SCHEMA:  # of tens of thousands of files
        return None
    try:
        check_schema(data, file, SCHEMA)
    except UnreadableFileError as error:
        return error
    return None


def _parsed(raws: Sequence[tuple[bytes | OSError, str]]) -> list[object]:
    """The contents of files with these paths; an UnreadableFileError in place of each damaged one.

    Parsing them together takes two thirds of the time and half of the memory, as equal keys become
    one object. A torn one leaves a bracket open, which no intact one closes; then each is parsed
    alone.
    """
    contents: list[object] = []
    texts = [raw for raw, _ in raws if isinstance(raw, bytes)]
    if len(texts) == len(raws) and not any(map(may_be_deep, texts)):
        with contextlib.suppress(ValueError):
            contents = decode_shallow(b"[" + b",".join(texts) + b"]")  # type: ignore[assignment]
    if len(contents) != len(raws):
        contents = [_parsed_alone(raw, path) for raw, path in raws]
    code = None
    for data in contents:  # the runs of a grid share their code; in 0.1.0 it lists all sources
        if isinstance(data, dict) and data.get("code") is not None:
            if data["code"] == code:
                data["code"] = code
            code = data["code"]
    return contents


def _parsed_alone(raw: bytes | OSError, path: str) -> object:
    if isinstance(raw, OSError):
        return UnreadableFileError(f"{path} cannot be read: {raw}")
    try:
        return parse_json(raw, path, object)
    except UnreadableFileError as error:
        return error


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: searching many records takes as long as reading them."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _record(folder: Path, name: str, data: dict[str, object]) -> RunRecord:
    get = data.get
    elapsed_s = get("elapsed_s")
    attempt = count_or_none(get("attempt")) or 0
    return RunRecord(
        folder=folder,
        run_name=text_or_none(get("run_name")) or name,
        state=text_or_none(get("state")) or "unknown",
        id=text_or_none(get("id")),
        attempt=attempt,
        claim=count_or_none(get("claim")) or attempt,
        experiment_id=text_or_none(get("experiment_id")),
        config_hash=text_or_none(get("config_hash")),
        grid_id=text_or_none(get("grid_id")),
        swept=mapping_or_none(get("swept")) or {},
        choices=mapping_or_none(get("choices")) or {},
        unresolved=mapping_or_none(get("unresolved")) or {},
        ignored=_texts_or_none(get("ignored")),
        metrics=mapping_or_none(get("metrics")) or {},
        best=mapping_or_none(get("best")),
        returned=_returned(get("returned")),
        progress=mapping_or_none(get("progress")),
        continued=_mappings(get("continued")),
        created_at=text_or_none(get("created_at")),
        started_at=text_or_none(get("started_at")),
        heartbeat_at=text_or_none(get("heartbeat_at")),
        ended_at=text_or_none(get("ended_at")),
        elapsed_s=elapsed_s if isinstance(elapsed_s, (int, float)) else 0.0,
        host=text_or_none(get("host")),
        pid=count_or_none(get("pid")),
        process_start=text_or_none(get("process_start")),
        slurm=mapping_or_none(get("slurm")),
        code=mapping_or_none(get("code")),
        error=mapping_or_none(get("error")),
        data=data,
    )


def _texts_or_none(value: object) -> tuple[str, ...] | None:
    return tuple(map(str, value)) if isinstance(value, list) else None


def _mappings(value: object) -> tuple[Mapping[str, object], ...]:
    entries = value if isinstance(value, list) else ()
    return tuple(entry for entry in entries if isinstance(entry, Mapping))


def _returned(data: object) -> object:
    if not isinstance(data, (dict, list)):  # a number mostly, or null
        return data
    from .._files.tagged_json import from_tagged

    try:
        return from_tagged(data)
    except (ValueError, RecursionError):  # of a newer version; `data` has it as it is
        return None


def _restarts(slurm: Mapping[str, object]) -> int:
    count = slurm.get("restart_count")
    return count if isinstance(count, int) else 0
