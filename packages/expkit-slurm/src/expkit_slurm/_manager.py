"""`SlurmManager`: submits a grid, waits for it, cancels it and tries again."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import SlurmError
from ._look import Looks
from ._options import Options, merged, sbatch_options
from ._placements import Placement, RunKey, jobs_of, key_of
from ._queue import Phase, phase
from ._resources import run_options
from ._scheduler import Scheduler
from ._script import ArrayScript, find_script, overridden, read_script, refuse_conflicts
from ._settings import SubmissionSettings
from ._status import RunStatus
from ._submission import (
    CODE,
    PICKLE,
    SUBMITTED,
    Order,
    Submission,
    read_submission,
)
from ._submit import (
    Plan,
    command,
    conf_changes,
    conf_hashes,
    create,
    draft,
    plan,
    shown_command,
    submit_arrays,
    submit_finaliser,
)
from ._watch import Patience, wait

if TYPE_CHECKING:
    from hydra.types import TaskFunction

    from expkit_hydra import Grid, GridRun
    from expkit_hydra.launching import Program

log = logging.getLogger("expkit_slurm")
AGAIN = ("failed", "lost", "interrupted", "cancelled", "unsubmitted")


class SlurmManager:
    """A grid as Slurm array jobs: one task a run, or several short runs a task.

    It keeps nothing in memory that is not in the experiment's folder: any process can `attach`,
    at any time.

    Args:
        grid: The grid; its `pending` runs are submitted.
        script: The batch script; None takes gpu_scripts/grid_search_array.sh where it exists.
        task_function: The user's function; None takes the one that the grid names.
        scheduler: Runs Slurm's commands.
        **options: Settings and resources of `hydra.launcher`, such as `array_parallelism=8`,
            `mem="16G"`, `time="04:00:00"`. A resource holds for all runs; those that are not
            given are each run's own, and else the script's.

    Raises:
        SlurmError: If an option or the script cannot be used.
    """

    def __init__(
        self,
        grid: Grid,
        script: str | None = None,
        *,
        task_function: TaskFunction | None = None,
        scheduler: Scheduler | None = None,
        **options: object,
    ) -> None:
        self._settings, resources = SubmissionSettings.split({**options, "script": script})
        self._given = sbatch_options(resources)
        self.grid = grid
        self._task_function = task_function
        self._scheduler = scheduler or Scheduler()
        self._looks = Looks(grid, self._scheduler)

    @classmethod
    def attach(cls, path: Path | str, *, scheduler: Scheduler | None = None) -> SlurmManager:
        """Take over what was submitted, from the folder of an experiment or a submission.

        An interrupted submission is completed in its record: Slurm is asked what it accepted.

        Raises:
            FileNotFoundError: If there is no grid.
            SlurmError: If nothing was submitted, or Slurm does not answer about an interrupted
                submission.
        """
        from expkit_hydra.launching import read_grid

        path = Path(path).absolute()
        only = None
        if (path / "submission.json").is_file():
            submission = read_submission(path)
            only, grid_path = submission.id, submission.grid_path
        else:
            grid_path = path
        grid: Grid = read_grid(grid_path)
        manager = cls(grid, scheduler=scheduler)
        manager._looks = Looks(grid, manager._scheduler, only=only)
        found = manager.submissions()
        if not found:
            raise SlurmError(
                f"Nothing of {_relative(str(grid.experiment))} was submitted to Slurm. Run the "
                "sweep's command again: it runs what is missing here, and on the cluster with "
                "hydra/launcher=expkit_slurm."
            )
        manager._settings = found[-1].settings
        return manager

    # --- what there is -----------------------------------------------------------------------

    def submissions(self) -> list[Submission]:
        """The submissions of the experiment, the oldest first, interrupted ones recovered."""
        return self._looks.submissions()

    def status(self) -> list[RunStatus]:
        """How each run of the grid is now, in the grid's order; asks Slurm once.

        Runs that a rule skips are left out.
        """
        return self._looks.with_logs(self._looks.look(accounting=True))

    # --- doing something ---------------------------------------------------------------------

    def plan(self, *, grid: Grid | None = None) -> tuple[Plan, list[GridRun]]:
        """What `submit` would do, and the runs that are in the queue already.

        Args:
            grid: Reads the configurations from there, for a grid that is not yet written.

        Raises:
            SlurmError: If an option or the script cannot be used.
        """
        grid = grid or self.grid
        queued = self._queued(grid.pending)
        runs = [run for run in grid.pending if key_of(run) not in queued]
        orders = [
            Order(run.index, run.index in grid.fresh, grid.known.get(run.index, frozenset()))
            for run in runs
        ]
        if self._again is None:
            options = run_options(grid, runs, self._given)
        else:
            options = [merged(self._again[key_of(run)], self._given) for run in runs]
        script = self._script()
        for each in dict.fromkeys(options):
            refuse_conflicts(script, each)
        planned = plan(
            orders,
            options,
            script=script,
            settings=self._settings,
            max_array_size=self._scheduler.max_array_size(),
        )
        return planned, [run for run in grid.pending if key_of(run) in queued]

    def _script(self) -> ArrayScript:
        """The batch script; of runs that are tried again, from wherever, the one that they had."""
        again = self._recorded
        if again is None or self._settings.script != again.settings.script:
            return find_script(self._settings.script, Path.cwd())
        if Path(again.script).is_file():
            return read_script(Path(again.script))
        return find_script(again.settings.script, Path(again.directory))

    def _queued(self, runs: Sequence[GridRun]) -> set[RunKey]:
        """Those of the runs that Slurm has already."""
        placements = self._looks.placements()
        placed = {key_of(run): placements[key_of(run)] for run in runs if key_of(run) in placements}
        jobs = jobs_of(placed.values())
        if not jobs:
            return set()
        told = self._scheduler.queue(jobs)
        if told is None:
            raise SlurmError(
                "Slurm does not answer, and runs of this experiment were submitted before: they "
                "would be submitted twice. Try again when `squeue` works."
            )
        alive = {each.name for each in told if phase(each.state) is not Phase.OVER}
        return {key for key, place in placed.items() if place.job in alive}

    def submit(
        self,
        *,
        planned: Plan | None = None,
        finaliser: bool = False,
        say: Callable[[str], None] = log.info,
    ) -> Submission | None:
        """Submit what is pending and not in the queue yet.

        Args:
            planned: As `plan` gave it; None makes the plan.
            finaliser: Whether a last job synchronises MLflow and draws the figures when all
                others have ended.
            say: Told what happens, in sentences.

        Returns:
            The submission; None if there was nothing to submit.

        Raises:
            SlurmError: If nothing could be submitted.
        """
        if planned is None:
            planned, _ = self.plan()
        if not planned.orders:
            return None
        program, pickled = self._program(say)
        again = self._recorded
        if again is None:
            config = self.grid.config(planned.orders[0].run)
            facts: dict[str, Any] = {"code": _code(), "conf": conf_hashes(config)}
        else:  # what changes is told from the sweep on, not from the last retry
            facts = {"code": again.code, "conf": again.conf}
        submission = draft(
            planned,
            experiment=self.grid.experiment,
            grid_id=self.grid.grid_id,
            program=program,
            facts=facts,
            python=_python(again),
        )
        create(submission, planned.orders)
        if pickled is not None:
            from ._payload import write_private

            write_private(submission.path / PICKLE, pickled)
        if planned.settings.snapshot == "copy":
            submission = _with_snapshot(submission, program, say)
        say(
            "config: frozen; code: "
            + ("copied (snapshot=copy)" if submission.snapshot else "live (snapshot=none)")
        )
        submission = submit_arrays(
            submission,
            planned.script,
            scheduler=self._scheduler,
            parallelism=planned.parallelism(),
            say=say,
        )
        _say_accepted(submission, say)
        if finaliser:
            self.finalise_later(submission, planned.script, say=say)
        return submission

    def _arrays_in_queue(self) -> set[str]:
        """Ids of the arrays with runs of this grid that are not over."""
        placements = self._looks.placements()
        places = [placements[key_of(run)] for run in self.grid.runs if key_of(run) in placements]
        told = self._scheduler.queue(jobs_of(places)) or []
        return {each.array_job_id for each in told if phase(each.state) is not Phase.OVER}

    def finalise_later(
        self,
        submission: Submission,
        script: ArrayScript | None = None,
        *,
        say: Callable[[str], None] = log.info,
    ) -> None:
        """Submit a job that synchronises MLflow and draws when the arrays have ended."""
        jobs = [each.job_id for each in submission.arrays if each.job_id is not None]
        try:
            script = script or read_script(Path(submission.script))
            jobs += sorted(self._arrays_in_queue() - set(jobs))
            done = submit_finaliser(submission, script, self._scheduler, after=jobs)
        except SlurmError as error:
            say(f"No job will sync and plot afterwards: {error}")
            return
        assert done.finaliser is not None
        say(f"job {done.finaliser.job_id} syncs and plots when all have ended")

    def wait(
        self,
        timeout_s: float | None = None,
        *,
        show: Callable[[Sequence[RunStatus]], None] = lambda statuses: None,
        lost_after_s: float | None = None,
    ) -> list[RunStatus]:
        """Wait until all runs are over. A dead run hides none of the others.

        Args:
            timeout_s: Longest time to wait, in seconds; None waits for ever.
            show: Told of each look.
            lost_after_s: Seconds after which a run is lost whose task is gone without a word of
                Slurm's.

        Returns:
            A record for each run, in the grid's order.
        """
        everything = {run.index for run in self.grid.runs if run.skipped_by is None}
        return self.wait_for(everything, timeout_s, show=show, lost_after_s=lost_after_s)

    def wait_for(
        self,
        runs: Collection[int],
        timeout_s: float | None = None,
        *,
        show: Callable[[Sequence[RunStatus]], None] = lambda statuses: None,
        lost_after_s: float | None = None,
    ) -> list[RunStatus]:
        """As `wait`, for the runs of these numbers."""

        def chosen(statuses: Sequence[RunStatus]) -> list[RunStatus]:
            return [each for each in statuses if each.index in runs]

        def cancel() -> None:
            self.cancel([self.grid.runs[index].run_name for index in runs])

        settings = self._settings
        wait(
            lambda: chosen(self._looks.look()),
            show=show,
            cancel=cancel,
            stop_after_failures=settings.stop_after_failures,
            timeout_s=timeout_s,
            poll_s=settings.poll_s,
            patience=None if lost_after_s is None else Patience(lost_after_s),
        )
        return chosen(self.status())

    def cancel(self, run_names: Iterable[str] | None = None) -> list[str]:
        """Cancel runs that are in the queue; those that run end as interrupted.

        Those of earlier grids of the experiment too, and a run that is there twice both times.

        Args:
            run_names: Which ones; None cancels all, with the job that tidies up.

        Returns:
            Slurm's names of what was cancelled.

        Raises:
            SlurmError: If Slurm does not answer, or did not cancel them all.
        """
        wanted = None if run_names is None else set(run_names)
        places = [
            place
            for place in self._looks.all_placements()
            if place.job is not None and (wanted is None or place.run.run_name in wanted)
        ]
        whole = [
            each.finaliser.job_id
            for each in self.submissions()
            if wanted is None and each.finaliser is not None and each.finaliser.job_id is not None
        ]
        told = self._scheduler.queue([*jobs_of(places), *whole])
        if told is None:
            raise SlurmError("Slurm does not answer. Cancel again when `squeue` works.")
        alive = {each.name for each in told if phase(each.state) is not Phase.OVER}
        jobs = list(
            dict.fromkeys(
                place.job for place in places if place.job in alive and not place.is_done()
            )
        )
        whole = [job for job in whole if job in alive]
        if jobs or whole:
            self._scheduler.cancel(_compact(jobs) + whole)
        return jobs

    def retry(
        self,
        states: Sequence[str] = AGAIN,
        *,
        runs: Iterable[str] | None = None,
        say: Callable[[str], None] = log.info,
        finaliser: bool = False,
        options: Options = (),
        **changes: object,
    ) -> Submission | None:
        """Submit runs again, with the grid's frozen configurations.

        Args:
            states: The states of the runs that are tried again.
            runs: Names of the runs; None takes all in these states.
            say: Told what happens, in sentences.
            finaliser: As for `submit`.
            options: Options of sbatch that the runs get now.
            **changes: Settings and resources that the runs get now, such as `mem="32G"`. The rest
                is as it was.

        Returns:
            The submission; None if no run is in one of these states.

        Raises:
            SlurmError: If a state or a resource is unknown, or nothing could be submitted.
        """
        _check_states(states)
        submissions = self.submissions()
        wanted = None if runs is None else set(runs)
        chosen = [
            self.grid.runs[each.index]
            for each in self._looks.look(accounting=True)
            if each.state in states and (wanted is None or each.run_name in wanted)
        ]
        if not chosen:
            return None
        last = submissions[-1]
        changed = conf_changes(last.conf)
        if changed:
            names = ", ".join(_relative(name) for name in changed[:5])
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            say(
                f"{names}{more} changed since the grid was submitted; the runs use the "
                "configuration that was frozen then. The sweep's command makes a new grid."
            )
        own, resources = SubmissionSettings.split(changes)
        kept = {key: getattr(own, key) for key in changes if key not in resources}
        placements = self._looks.placements()
        manager = SlurmManager(self._pending(chosen, placements), scheduler=self._scheduler)
        manager._settings = replace(last.settings, **kept)
        manager._given = merged(sbatch_options(resources), options)
        manager._recorded = last
        manager._again = {
            key_of(run): placements[key_of(run)].array.options if key_of(run) in placements else ()
            for run in chosen
        }
        return manager.submit(say=say, finaliser=finaliser)

    _recorded: Submission | None = None  # whose program runs again
    _again: Mapping[RunKey, Options] | None = None  # what the runs asked of Slurm before

    def _pending(self, runs: Sequence[GridRun], placements: Mapping[RunKey, Placement]) -> Grid:
        """The grid with these runs to do, and what is known of them now."""
        from expkit_bookkeeping import read_run
        from expkit_hydra.launching import run_version, run_versions

        records = {run.index: read_run(run.folder) for run in runs}
        known = dict(run_versions(runs, [each for each in records.values() if each is not None]))
        fresh = set()
        for run in runs:
            place, record = placements.get(key_of(run)), records[run.index]
            if place is None or not place.fresh:
                continue
            # It was to begin anew and never began: what its folder holds is of before.
            if record is None or run_version(record) in place.known:
                fresh.add(run.index)
                known[run.index] = known.get(run.index, frozenset()) | place.known
        return replace(self.grid, pending=tuple(runs), fresh=frozenset(fresh), known=known)

    def _program(self, say: Callable[[str], None]) -> tuple[Program | None, bytes | None]:
        """What the tasks run: a program by name, or a function as a pickle."""
        from expkit_hydra import GridError
        from expkit_hydra.launching import Program

        if self._recorded is not None:
            if self._recorded.program is not None:
                return Program.from_record(self._recorded.program), None
            return None, (self._recorded.path / PICKLE).read_bytes()
        if self._task_function is None:
            described = self.grid.description.get("task")
            if described is None:
                raise SlurmError(
                    f"The grid {self.grid.grid_id} names no function to run. Give task_function=…"
                )
            return Program.described(described), None
        try:
            return Program.of(self._task_function), None
        except GridError as error:
            if self._settings.runs_per_task > 1:
                raise SlurmError(
                    f"runs_per_task={self._settings.runs_per_task} starts processes that import "
                    f"the program. {error}"
                ) from None
            say(f"{error} It is pickled for the tasks of this grid, as it is now.")
            from ._payload import pickled_function

            return None, pickled_function(self._task_function)


def dry_run(manager: SlurmManager, grid: Grid, experiment: Path) -> list[str]:
    """What a submission would do, in lines: the whole sbatch commands and the runs.

    Args:
        manager: With the settings.
        grid: A grid that is written elsewhere for the occasion.
        experiment: Where it would be.
    """
    planned, queued = manager.plan(grid=grid)
    lines = []
    if queued:
        lines.append(queued_line(len(queued)))
    if not planned.orders:
        return [*lines, "nothing to submit"]
    submission = draft(planned, experiment=experiment, grid_id=None, program=None, facts={})
    for array, limit in zip(submission.arrays, planned.parallelism(), strict=True):
        orders = planned.orders[array.first : array.first + array.runs]
        names = [grid.runs[order.run].run_name for order in orders]
        lines.append(f"array {array.number}: {array.runs} runs, {names[0]} to {names[-1]}")
        lines += [f"    {line}" for line in overridden(planned.script, array.options)]
        words = command(submission, array, planned.script, limit)
        lines.append(f"    {shown_command(words)}")
    return lines


def queued_line(number: int) -> str:
    """That so many runs are not submitted again.

    >>> queued_line(1)
    '1 run is in the queue already, and stays there'
    """
    if number == 1:
        return "1 run is in the queue already, and stays there"
    return f"{number} runs are in the queue already, and stay there"


def _say_accepted(submission: Submission, say: Callable[[str], None]) -> None:
    total = sum(each.runs for each in submission.arrays)
    done = [each for each in submission.arrays if each.state == SUBMITTED]
    runs = sum(each.runs for each in done)
    tasks = sum(submission.tasks(each) for each in done)
    jobs = ", ".join(str(each.job_id) for each in done[:8]) + (", …" if len(done) > 8 else "")
    packed = f" in {_counted(tasks, 'task')}" if tasks != runs else ""
    said = _counted(runs, "run") if runs == total else f"{runs} of {total} runs"
    say(f"submitted {said}{packed}: job{'s' if len(done) > 1 else ''} {jobs}")
    if runs < total:
        say(
            f"{_counted(total - runs, 'run')} unsubmitted; "
            f"`expkit retry {_relative(str(submission.experiment))}` submits them later."
        )


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _compact(jobs: Sequence[str]) -> list[str]:
    """Fewer and shorter words for scancel, as a word of a command line has at most 128 kB.

    >>> _compact(["12_3", "12_4", "12_5", "12_9", "13_0"])
    ['12_[3-5,9]', '13_[0]']
    """
    tasks: dict[str, list[int]] = {}
    for job in jobs:
        array, _, task = job.partition("_")
        tasks.setdefault(array, []).append(int(task))
    return [f"{array}_[{','.join(_ranges(sorted(found)))}]" for array, found in tasks.items()]


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        found = [number for _, number in group]
        yield str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"


def _check_states(states: Sequence[str]) -> None:
    from difflib import get_close_matches

    for state in states:
        if state not in AGAIN:
            near = get_close_matches(state, AGAIN, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SlurmError(
                f"Runs in the state {state!r} are not tried again.{hint} "
                f"Allowed: {', '.join(AGAIN)}."
            )


def _code() -> dict[str, Any]:
    from expkit_bookkeeping import code_facts

    return code_facts()


def _relative(path: str) -> str:
    from expkit_hydra.launching import short_path

    return short_path(Path(path))


def _with_snapshot(
    submission: Submission, program: Program | None, say: Callable[[str], None]
) -> Submission:
    from ._snapshot import copy_sources

    if program is None:
        raise SlurmError(
            "snapshot=copy needs a function that can be imported: this one is pickled as it is."
        )
    snapshot = copy_sources(
        submission.path / CODE,
        script=None if program.script is None else Path(program.script),
        directory=Path(program.directory),
        sys_path=program.path,
    )
    for line in snapshot.describe():
        say(line)
    submission = replace(submission, snapshot=snapshot.to_record())
    submission.write()
    return submission


def _python(again: Submission | None) -> str:
    """The interpreter of the tasks: of runs that are tried again, the one that they had."""
    if again is not None and Path(again.python).is_file():
        return again.python
    return sys.executable
