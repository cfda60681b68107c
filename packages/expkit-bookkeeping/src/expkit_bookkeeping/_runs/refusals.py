"""Why a run cannot be claimed, or is no longer this process's, and what to do about it."""

from collections.abc import Callable
from pathlib import Path

from .claim_files import TO_REMOVE, TO_RUN, ClaimFacts, claim_that_holds
from .processes import is_ancestor, same_machine, this_process
from .records import (
    STALE_S,
    Liveness,
    RunRecord,
    heartbeat_age_s,
    is_alive,
    lost_if_ownerless,
    owner_record,
    read_run,
)


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
            f"and is {record.state} now: {describe_owner(record)} has started attempt "
            f"{record.attempt}. Nothing was written. Open the run again when that attempt has "
            "ended."
        )


def check_not_newer(record: RunRecord | None) -> None:
    """Check that no newer version wrote a run: what it means by the files is not known here.

    Raises:
        RunClaimed: If one did.
    """
    if record is not None and record.is_newer:
        raise RunClaimed(f"Run {record.run_name!r} is left as it is: {record.reason}")


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
            f"meanwhile ({describe_owner(record)}). Nothing was changed. The same command again "
            "decides anew."
        )

    return unless


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
        f"Run {record.run_name!r} in {folder} is held by {describe_owner(record)} since "
        f"{record.started_at} (attempt {record.attempt}{heartbeat}). {advice}"
    )


def describe_owner(record: RunRecord) -> str:
    job = ""
    if record.slurm is not None:
        array, task = record.slurm.get("array_job_id"), record.slurm.get("array_task_id")
        job_id = f"{array}_{task}" if array and task else record.slurm.get("job_id")
        job = f"Slurm job {job_id}, "
    return f"{job}process {record.pid} on {record.host or 'an unknown host'}"
