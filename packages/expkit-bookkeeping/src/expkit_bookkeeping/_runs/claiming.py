"""Becoming the owner of a run folder: of processes that try at once exactly one does."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from .._files.durable import make_folder
from .._files.paths import exists
from .claim_files import claim_path, highest_claim, link_claim, make_void
from .claims import Claim, unfinished_claims
from .folder_ownership import is_shared_claim
from .processes import ProcessIdentity, is_ancestor, this_process
from .records import Liveness, RunRecord, claimed_record, is_alive, lost_if_ownerless
from .refusals import (
    ClaimLost,
    RunClaimed,
    check_free,
    check_not_newer,
    check_purpose,
    check_still_completed,
)
from .takeover import continued_under, detach, sweep

MOST_RETRIES = 100  # of a claim that others were faster with


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
    start = _Start(
        folder, this_process(), facts, config, unless, append_files, adds_to, launches,
        is_alive, clock,
    )  # fmt: skip
    for retries_left in range(MOST_RETRIES, -1, -1):
        own_claims = unfinished_claims(folder)
        try:
            claim = start.attempt(own_claims, shared=is_shared_claim(folder, may_share=may_share))
            if claim is not None:
                return claim
        except (FileNotFoundError, ClaimLost) as error:
            # Somebody has moved the folder, or a process that judged an earlier run in its place
            # holds a claim for a moment.
            if isinstance(error, ClaimLost) and (adds_to is not None or own_claims):
                raise
            if not retries_left:
                raise RunClaimed(f"Run {folder.name!r} in {folder} is not free: {error}") from error
    raise RunClaimed(
        f"Run {folder.name!r} in {folder} has been claimed by others {MOST_RETRIES} times while "
        "this process tried. Try again when they are done."
    )


@dataclass(frozen=True)
class _Start:
    """What `claim_run` is asked for; its arguments say what each is."""

    folder: Path
    process: ProcessIdentity
    facts: Mapping[str, object]
    config: Mapping[str, object] | None
    unless: Callable[[RunRecord | None], str | None] | None
    append_files: Sequence[str]
    adds_to: RunRecord | None
    launches: bool
    is_alive: Liveness
    clock: Callable[[], float]

    def attempt(self, own_claims: Sequence[Claim], *, shared: bool) -> Claim | None:
        """Judge the run as it is now, and claim it; None if somebody else was faster."""
        folder = self.folder
        if self.adds_to is None:
            make_folder(folder / "claims")
        # The next claim is the number after the one that is judged, and is read first: with a
        # second reading, a claim made in between would be taken for the judged one.
        number = highest_claim(folder) + 1
        record = claimed_record(folder, is_alive=self.is_alive, below=number)
        check_not_newer(record)
        claimed = 0 if record is None else record.claim
        check_purpose(folder, claimed, below=number, is_alive=self.is_alive)
        for claim in own_claims:  # the record may be another owner's by now
            claim.check()
        # What this process has ended goes on under a new claim, as the run is anybody's by now.
        reopens = owns(record, self.process) and record.state != "running" and not own_claims
        if owns(record, self.process) and not reopens:
            own = self._own_claim_again(record)
            if own is not None:
                return own
        return self._next_claim(number, record, reopens=reopens, shared=shared)

    def _own_claim_again(self, record: RunRecord) -> Claim | None:
        """The claim that this process has already; None if a higher one came before it."""
        claim = Claim(self.folder, record.claim, record.attempt, self.process, self.clock)
        with _released_if_it_fails(claim):
            if claim.is_highest():
                self._check_addition(lost_if_ownerless(record, self.is_alive))
                if record.heartbeat_at is None:  # a full disk came before run.json
                    sweep(self.folder, claim.check)
                    detach(self.folder, claim.check, others=self.append_files)
                self._write(claim, self.facts, record, reopened=True)
                return claim
        claim.release()  # a higher one came to nothing, as only `is_alive` says
        return None

    def _next_claim(
        self, number: int, record: RunRecord | None, *, reopens: bool, shared: bool
    ) -> Claim | None:
        """Claim a run that is free; None if it was claimed by somebody else in between."""
        judge = self._check_addition if reopens else self._judge
        check_free(self.folder, number, record, self._is_rival, judge)
        continues = reopens or (record is not None and not self.launches and _is_launcher(record))
        former_attempt = 0 if record is None else record.attempt
        attempt = former_attempt + (not continues)
        if not link_claim(
            self.folder, number, self.process, self.clock, attempt=attempt, shared=shared
        ):
            return None  # somebody linked this number first and owns the run now: read again
        claim = Claim(self.folder, number, attempt, self.process, self.clock)
        with _released_if_it_fails(claim):
            sweep(self.folder, claim.check, deep=record is not None)
            record = judge_again(self.folder, number, self.process, record, self._is_rival, judge)
            if record is not None and record.attempt != former_attempt:
                # An owner that was taken for gone has started in between.
                make_void(self.folder, number, self.process)
                claim.release()
                return None
            facts = dict(self.facts)
            if record is not None and not continues:
                detach(self.folder, claim.check, others=self.append_files)
                if self.adds_to is None:
                    facts["continued"] = self._continued(record, attempt)
            self._write(claim, facts, record, reopened=reopens)
            return claim

    def _write(
        self, claim: Claim, facts: Mapping[str, object], record: RunRecord | None, *, reopened: bool
    ) -> None:
        adds = self.adds_to is not None
        claim.start(facts, record, reopened=reopened, adds=adds, launches=self.launches)

    def _continued(self, record: RunRecord, attempt: int) -> object:
        config_hash, unresolved = self.facts["config_hash"], self.facts["unresolved"]
        assert config_hash is None or isinstance(config_hash, str)
        assert unresolved is None or isinstance(unresolved, dict)
        return continued_under(
            record,
            self.config,
            attempt=attempt,
            config_hash=config_hash,
            unresolved=unresolved or (),
        )

    def _check_addition(self, record: RunRecord | None) -> None:
        if self.adds_to is not None:
            check_still_completed(record, self.adds_to)

    def _judge(self, record: RunRecord | None) -> str | None:
        self._check_addition(record)
        return None if self.unless is None else self.unless(record)

    def _is_rival(self, record: RunRecord) -> bool | None:
        is_own_launcher = not self.launches and _is_launcher(record)
        return False if is_own_launcher else self.is_alive(record)


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


def is_owned_by(record: RunRecord, process: ProcessIdentity) -> bool:
    """Whether a process is the one that claimed a run."""
    identity = (process.host, process.pid, process.process_start)
    return (record.host, record.pid, record.process_start) == identity
