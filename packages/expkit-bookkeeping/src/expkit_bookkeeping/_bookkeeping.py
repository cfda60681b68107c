"""`Bookkeeping`: what training code uses, a thin face over the parts of an open run."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import FrameType, TracebackType

from ._files.durable import make_folder
from ._files.paths import path_inside
from ._files.secrets import (
    literal_secrets,
    remember_secrets,
    secret_patterns,
    secret_values,
    secret_warning,
)
from ._named_files import NamedFiles
from ._recording.endings import final_state
from ._recording.metrics import to_numbers, to_step
from ._recording.ranks import process_rank
from ._recording.signals import stop_requested, stop_signals, true_on_any_rank
from ._recording.sinks import Sinks
from ._runs.claiming import claim_run
from ._runs.claims import FINAL_STATES, check_unfinished_claims
from ._runs.folder_ownership import is_run_folder
from ._runs.records import Liveness, find_run, is_alive, read_run
from ._runs.refusals import completed_since
from ._runs.settings import (
    RunSettings,
    folder_name,
    plain_config,
    run_folder,
    run_settings,
    settings_of_run,
    shown_config,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ._checkpoints.resuming import ResumePoint
    from ._checkpoints.rng import RankStreams
    from ._checkpoints.saver import CheckpointSaver
    from ._recording.finished_run import FinishedRun
    from ._recording.open_run import OpenRun
    from ._recording.protocols import SavableTimer, Sink
    from ._run import Run
    from ._runs.records import RunRecord


class Bookkeeping(NamedFiles):
    """One run's folder: claim, state, log, metrics, checkpoints and results.

    Use it as a context manager. Entering claims the folder and starts the heartbeat; leaving
    records `completed`, `failed` (with the error) or `interrupted`. In a notebook, `open` and
    `close` do the same. Only rank 0 claims and writes; on other ranks the same code runs and
    writes nothing.

    A completed run stays completed: on one, opening claims and writes nothing, `best` and `config`
    are what the run has recorded, and results, states, encoders, artifacts, timers and the log are
    added to it, however the block is left. Only `log_metrics`, `save_checkpoint`, or `resume` with
    epochs left claim it for a new attempt, and say so. An attempt that logged nothing but metrics
    that the training did not log keeps the state, best and progress of the run, too.

    While it is open, SIGUSR1 (Slurm: `--signal=USR1@90`) makes `should_stop` true. SIGTERM does
    so too and raises SystemExit(143), so that the block is left. The handlers are installed only
    in the main thread and only if SIGTERM has its default handler, and are restored at the end.

    Args:
        folder: The run folder. `find_runs` and `results` find it in `EXPERIMENT/training/RUN`. It
            may hold files of yours under names that Bookkeeping does not use; expkit then never
            moves or removes it.
        config: The run's configuration, written to config.yaml (a completed run's stays, until the
            run is trained again) and handed to the sinks.
        sinks: Where metrics, artifacts and timers go besides the folder; see `Sink`.
        run_name: Name of the run; by default the folder's name.
        experiment_id: Name of the experiment; by default the experiment folder's name.
        swept: What varies between the runs of the experiment, with this run's values. They become
            columns of `results`, which groups by them. By default what a launcher has recorded.
        settings: Metric to watch, checkpoints to keep, number of epochs; by default those of
            the configuration.
        rank: Rank of this process; see `process_rank` for the default.
        console: Whether `log` also writes to the console.
        is_alive: Says whether the present owner of the folder is alive.
        clock: Seconds since the epoch.

    Raises:
        TypeError: If the configuration holds something that is not data.
        ValueError: If a setting or the rank is not allowed.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        config: object = None,
        sinks: Sequence[Sink] = (),
        run_name: str | None = None,
        experiment_id: str | None = None,
        swept: Mapping[str, object] | None = None,
        settings: RunSettings | None = None,
        rank: int | None = None,
        console: bool = True,
        is_alive: Liveness = is_alive,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # absolute(), as the training code may change the working directory
        self.folder: Path = Path(folder).absolute()
        self.config: dict[str, object] = {} if config is None else plain_config(config)
        self._shown_config = shown_config(config, self.config)
        self.settings: RunSettings = settings or run_settings(self.config)
        self.rank: int = process_rank(rank)
        self.run_name: str = (
            self.folder.name if run_name is None else folder_name(run_name, "run_name")
        )
        inside = self.folder.parent.name == "training"
        self.experiment_id = experiment_id or (self.folder.parent.parent.name if inside else None)
        # What an existing run has recorded stands where the caller says nothing.
        self._given_config = self.config
        self._given_settings = None if config is None and settings is None else self.settings
        self._names_run, self._names_experiment = run_name is not None, bool(experiment_id)
        self._sinks = Sinks(sinks, self._warn)
        self._swept = swept
        self._console = console
        self._is_alive = is_alive
        self._clock = clock
        self._may_share = True  # as long as the user has named this very folder
        self._run: OpenRun | None = None  # on rank 0; kept when closed, for `best`
        self._finished: FinishedRun | None = None  # instead, while a completed run is not claimed
        self._streams: RankStreams | None = None  # on the other ranks
        if self.rank != 0:
            from ._checkpoints.rng import RankStreams

            self._streams = RankStreams(self.rank)
        self._saver: CheckpointSaver | None = None  # of that run, from its first checkpoint on
        self._signals: contextlib.AbstractContextManager[bool] | None = None
        self._opened = False
        self._pid = 0
        self._completed = False
        self._asked_to_stop = False
        self._opened_at = ""
        self._taken_over_at: str | None = None  # by another object of this process

    @classmethod
    def from_config(
        cls,
        config: object,
        *,
        sinks: Sequence[Sink] = (),
        swept: Mapping[str, object] | None = None,
        rank: int | None = None,
        console: bool = True,
    ) -> Self:
        """Bookkeeping in `results_dir/experiment_id/training/run_name` of a configuration.

        Args:
            config: A DictConfig or plain mapping with `experiment_id`, `run_name` and, unless it
                is `results`, `results_dir`. `expkit` gives `metric`, `direction`, `keep_last` and
                `keep_best`; `epochs` gives the total of the progress.
            sinks: See the class.
            swept: See the class.
            rank: See the class.
            console: See the class.

        Raises:
            TypeError: If the configuration holds something that is not data.
            ValueError: If a key that names the folder is missing, a name could lead out of it, or
                a setting is not allowed.
        """
        plain = plain_config(config)
        bookkeeping = cls(
            run_folder(plain),
            config=plain,
            sinks=sinks,
            experiment_id=str(plain["experiment_id"]),
            swept=swept,
            rank=rank,
            console=console,
        )
        bookkeeping._may_share = False
        bookkeeping._shown_config = shown_config(config, plain)  # references as they are written
        return bookkeeping

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    # Opening and closing

    def open(self) -> Self:
        """Claim the folder, write config.yaml and environment.yaml, start the heartbeat.

        A completed run is not claimed, and nothing is written; see the class.

        If another object of this process has the folder open, as when a notebook cell is run
        again, this one takes over with a warning and closes the other one.

        Raises:
            RunClaimed: If another process holds the run.
            PermissionError: If the folder is somebody else's; nothing is written.
            OSError: If the folder cannot be written.
        """
        if self._opened:
            return self
        self._completed = self._asked_to_stop = False
        self._run = self._saver = self._finished = None
        self._pid = os.getpid()
        self._opened_at, self._taken_over_at = _calling_line(), None
        try:
            self._signals = stop_signals()
            self._signals.__enter__()
            self._open_folder()
        except BaseException:
            self._release()  # a block that was not entered is never left
            raise
        self._opened = True
        return self

    def close(self, state: str | None = None, error: BaseException | None = None) -> None:
        """Record how the run ended, and stop writing.

        Args:
            state: completed, failed or interrupted; by default it follows from the error and
                `should_stop`. A completed run that was not trained stays completed.
            error: The error that ended the run, if any.

        Raises:
            ClaimLost: If somebody else has claimed the run in the meantime.
            ValueError: If the state is not one of the three.
        """
        if state is not None and state not in FINAL_STATES:
            raise ValueError(f"A run cannot end as {state!r}. Known: {', '.join(FINAL_STATES)}.")
        if not self._opened or os.getpid() != self._pid:
            return  # how the run ended is not for a forked child to say
        if state is None:
            state = final_state(error, asked_to_stop=self._asked_to_stop, completed=self._completed)
        try:
            if self._run is not None:
                self._run.finish(state, error)
            elif self._finished is not None and self.rank == 0:
                self._finished.finish()
        finally:
            self._release()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close(error=error)
        except Exception as problem:
            if error is None:
                raise
            if problem is error:
                return
            # Show the first error: it ended the training.
            with contextlib.suppress(Exception):
                error.add_note(f"When the run was closed: {problem}")

    def complete(self) -> None:
        """Say that the training is complete, even if the process is asked to stop afterwards."""
        self._completed = True

    def should_stop(self, *, all_ranks: bool = False) -> bool:
        """Whether to save and leave: time limit, preemption, scancel, or the claim was lost.

        Leaving the block after this was true records `interrupted`, and the run is resumed later.

        Args:
            all_ranks: Whether to agree with the other ranks. A signal reaches one rank before the
                others, which would wait forever if it left the loop alone. With True the answer is
                true on all ranks as soon as it is on one; every rank has to ask, as in any
                collective of torch.distributed. Without torch.distributed it changes nothing.
        """
        lost = self._run is not None and self._run.lost is not None
        stop = lost or stop_requested() is not None
        if all_ranks:
            stop = true_on_any_rank(stop)
        self._asked_to_stop = self._asked_to_stop or stop
        return stop

    # Log and folders

    def log(self, message: object, level: int | str = "info") -> None:
        """Write a message to the console and to training.log.

        Args:
            message: Anything; its `str` is written.
            level: A level of logging, by number or name.

        Raises:
            ValueError: If there is no such level.
        """
        run = self._writing()
        if run is not None:
            run.log.write(message, level, console=True)

    def log_to_file(self, message: object, level: int | str = "info") -> None:
        """Write a message to training.log only.

        Args:
            message: As for `log`.
            level: As for `log`.
        """
        run = self._writing()
        if run is not None:
            run.log.write(message, level, console=False)

    def create_folder(self, name: str | PathLike[str]) -> Path:
        """Make a folder inside the run folder.

        Args:
            name: Relative path; parents are made too.

        Returns:
            The folder. On ranks other than 0 it is not made.

        Raises:
            ValueError: If the path leads out of the run folder, or is hidden.
        """
        path = path_inside(self.folder, os.fspath(name))
        run = self._writing()
        if run is not None:
            make_folder(path, run.check)
        return path

    # Metrics, timers, artifacts

    def log_metrics(self, metrics: Mapping[str, object], step: int) -> None:
        """Log numbers to metrics.jsonl and to every sink. Takes microseconds.

        Args:
            metrics: Names and numbers; numpy and torch scalars are numbers too.
            step: Epoch or batch, from 0. Two calls with the same step make one row.

        Raises:
            TypeError: If a value is not one number, or the step not a whole one. Then nothing is
                logged.
            ValueError: If the step is negative.
            ClaimLost: If somebody else has claimed the run.
        """
        values = to_numbers(metrics)
        if type(step) is not int or step < 0:
            step = to_step(step)
        run = self._training("log_metrics", values)
        if run is not None:
            run.log_metrics(step, values)

    @property
    def best(self) -> dict[str, object] | None:
        """Best value of `expkit.metric` so far: metric, direction, value, step. None if none."""
        run = self._run or self._finished
        return None if run is None else run.best

    def save_timer(self, timer: SavableTimer) -> Path:
        """Save a timer to timer.yaml: now, with each checkpoint, and when the run ends.

        Call it before the loop, so that the run may end in any way. The times of earlier attempts
        stay and add up; `resume` forgets what was timed after its checkpoint, as it is done
        again. At the end the sinks get the statistics.

        Args:
            timer: A `Timer` or `Timers` of expkit-timer, or another object with a `save(path)`
                that writes the same file.

        Returns:
            The file.

        Raises:
            TypeError: If the timer cannot be saved.
        """
        save = getattr(timer, "save", None)
        if not callable(save):
            raise TypeError(
                f"save_timer takes a timer with a method save(path), not "
                f"{type(timer).__name__}: {timer!r}."
            )
        run = self._writing()
        if run is not None:
            run.timers.add(timer)
        return self.folder / "timer.yaml"

    def log_artifact(self, path: str | PathLike[str]) -> None:
        """Hand a file of the run folder to the sinks.

        Args:
            path: Relative to the run folder, or absolute inside it.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not inside the run folder.
        """
        path = Path(path)
        if path.is_absolute() and path.is_relative_to(self.folder):
            path = path.relative_to(self.folder)
        artifact = path_inside(self.folder, str(path))
        run = self._writing()
        if run is None:
            return
        if not artifact.exists():
            raise FileNotFoundError(f"There is no {artifact} to log as an artifact.")
        run.log_artifact(artifact)

    # Checkpoints

    def save_checkpoint(
        self,
        epoch: int,
        *,
        model: object = None,
        optimizer: object = None,
        scheduler: object = None,
        scaler: object = None,
        loader: object = None,
        batch: int | None = None,
        background: bool = False,
        **extra: object,
    ) -> Path:
        """Save everything that `resume` needs to continue as if the run had not been stopped.

        Besides the arguments, the file holds the states of all random number generators. It is
        durable when this returns. Older checkpoints are then removed while the training continues,
        except the newest `expkit.keep_last` and the best `expkit.keep_best` by `expkit.metric`,
        as logged since the previous checkpoint. `states/best.pt` is the best.

        A resumed run equals one that was not stopped, bit by bit on one machine, if it was saved
        at the end of an epoch: with and without loader workers, with the loader's own generator or
        the global one. The limits: what a dataset draws inside `persistent_workers` is not saved
        (the order of the samples is), and a second loader with such workers, as for validation,
        needs a generator of its own. Inside an epoch (`batch`) the loader needs a `state_dict`;
        with workers its batches are then the same, but not their random augmentation. Sharded
        models (FSDP) are not supported.

        In a distributed run all ranks call this, and rank 0 writes. The random streams of the
        others begin anew at each checkpoint, from the seed that the process had, so that these
        ranks too draw the same after a resume.

        The file holds what `torch.load(weights_only=True)` reads: numpy numbers and Hydra
        configurations are converted, arrays become tensors, and anything else is refused with its
        place, such as `optimizer.param_groups[0].lr`.

        With `background` the call takes as long as copying the state to host memory. A thread then
        does the rest in the same order, and the training continues. The file holds the state at
        the time of the call. Checkpoints are written one after another; a kill in between leaves
        the previous one. The memory of the copy is reused (and pinned if the state is on a GPU). A
        second one is allocated once a call comes before the last file is written, and never a
        third: the next call waits. An error in the thread is logged at once, and raised by the
        next call, which then saves nothing, or at the end of the block, which makes the run a
        failed one. Leaving the block (also after SIGTERM), `wait_for_checkpoint`, `resume` and
        `load_model` wait for the file.

        Args:
            epoch: The epoch, from 0. It is complete unless `batch` is given.
            model: A module, which may be wrapped by DistributedDataParallel or `torch.compile`.
            optimizer: The optimizer. Its state follows the names that its parameters have in the
                modules saved beside it, whatever their order when it is resumed.
            scheduler: The scheduler; None if there is none, as for all of these.
            scaler: The gradient scaler.
            loader: The training DataLoader, for the state of its generators. With a stateful one
                (torchdata's StatefulDataLoader) a run may stop inside an epoch.
            batch: How many batches of the epoch are done, when saving inside it.
            background: Whether to return as soon as the state is copied.
            **extra: More by name: objects with a `state_dict`, or plain values.

        Returns:
            The file; with `background`, the one that will be written.

        Raises:
            TypeError: If something cannot be saved without pickle; says where it is.
            ValueError: If the epoch or batch is out of range, or the loader cannot continue inside
                an epoch.
            OSError: If the disk is full; older checkpoints are untouched. With `background`, if
                an earlier one could not be written.
            ClaimLost: If somebody else has claimed the run.
        """
        run = self._training("save_checkpoint")
        if run is None:
            from ._checkpoints.files import checkpoint_path

            if self._streams is not None:
                self._streams.begin(epoch, batch, loader)
            return checkpoint_path(self.folder, epoch, batch)
        run.begin_training()
        return self._saver_of(run).save(
            epoch,
            batch=batch,
            objects={
                "model": model,
                "optimizer": optimizer,
                "scheduler": scheduler,
                "scaler": scaler,
                **extra,
            },
            loader=loader,
            background=background,
        )

    def wait_for_checkpoint(self) -> None:
        """Wait until the checkpoints of `save_checkpoint(…, background=True)` are on the disk.

        Raises:
            OSError: If it could not be written.
            ClaimLost: If somebody else has claimed the run.
        """
        run = self._writing()
        if run is not None:
            run.wait_for_checkpoints()

    def resume(
        self,
        *,
        model: object = None,
        optimizer: object = None,
        scheduler: object = None,
        scaler: object = None,
        loader: object = None,
        **extra: object,
    ) -> ResumePoint:
        """Restore the newest valid checkpoint, and forget what was logged and timed after it.

        A completed run that has epochs left, as the configuration says more of them than its newest
        checkpoint has, is claimed for a new attempt; what was logged after the checkpoint stays
        until the training goes on. Any other completed run is only read.

        A damaged checkpoint is reported, renamed and passed over. What a kill has kept the last
        save from doing is done now: `states/best.pt` is the best again, superseded files are
        removed, and sinks get what they lack. Call this before the loader is
        iterated, and last before the loop, as it also restores the random number generators.

        Args:
            model: See `save_checkpoint`, as for all of these.
            optimizer: The optimizer.
            scheduler: The scheduler.
            scaler: The gradient scaler.
            loader: The training DataLoader.
            **extra: More by name: objects with a `load_state_dict`, or defaults of plain values.

        Returns:
            The epoch to run next, 0 on a new run: `range(start, epochs)`. Its attribute `batch`
            is 0, or the number of batches of that epoch that are done (a stateful loader is
            already past them); `extra` has the plain values.

        Raises:
            ValueError: If the checkpoint lacks the state of one of these objects, or an optimizer's
                parameters have other names or groups than when it was saved.
            RuntimeError: If a state does not fit, such as that of another model.
        """
        from ._checkpoints.resuming import resume

        if self._streams is not None:
            self._streams.remember_seed()
        run = self._writing()
        if run is not None:
            run.wait_for_checkpoints()
        start = resume(
            self.folder,
            objects={
                "model": model,
                "optimizer": optimizer,
                "scheduler": scheduler,
                "scaler": scaler,
                **extra,
            },
            loader=loader,
            streams=self._streams,
            read_only=self._finished is not None or self.rank != 0,
            report=self._warn,
            check=None if run is None else run.check,
        )
        if run is None:
            return start
        text = "" if start.path is None else f"Restored {start.path.name}."
        epochs = self.settings.epochs
        # A completed run without a checkpoint, or of which nobody says how many epochs it has, is
        # only read: if the script's loop has something left to do, it logs or saves.
        if self._finished is None or (text and epochs is not None and start < epochs):
            attempt = self._training("resume")
            assert attempt is not None
            epoch = None if start.path is None else int(start)
            attempt.resume_at(epoch, start.step, start.metrics_size, start.timers)
            if start.replaced and attempt.has_changed:
                self._warn(_describe_replaced(start.replaced))
            if start.path is not None:
                if attempt.completed is None:
                    self._saver_of(attempt).finish_earlier_save(start.path)
                after = f" after batch {start.batch}" if start.batch else ""
                text = f"Resumed from {start.path.name}: epoch {int(start)}{after} is next."
        if text:
            self.log(text)
        return start

    def uses(
        self,
        other: Run | RunRecord | Bookkeeping | str | PathLike[str],
        checkpoint: str | int = "best",
    ) -> Run:
        """Record that this run is built on a checkpoint of another one, and return that run.

        run.json gets the other run's attempt and the checkpoint's sha256. `expkit status` and
        `show` say when that run has been trained anew since, if its experiment lies beside this
        run's. A completed run keeps what it has recorded.

        Args:
            other: The other run.
            checkpoint: Its checkpoint, as for `load_model`: `run.uses(first).load_model(model,
                "best")`.

        Raises:
            FileNotFoundError: If there is no such run or checkpoint; names those that exist.
            ClaimLost: If somebody else has claimed this run.
        """
        from ._finished.used_runs import use_of, used_runs, with_use
        from ._run import Run

        if isinstance(other, Bookkeeping):
            other._wait_for_files()
            other = other.folder
        first = other if isinstance(other, Run) else Run(other, is_alive=self._is_alive)
        if self._writing() is None:
            return first
        record = find_run(first.folder, is_alive=self._is_alive) or first.record
        run = self._run
        if run is not None:
            own = run.claim.record
        else:
            assert self._finished is not None
            own = self._finished.record
        use = use_of(record, checkpoint, by=own)
        if run is not None and run.completed is None:
            run.claim.update(uses=with_use(own, use))
        elif use not in used_runs(own):
            self._warn(
                f"{use.checkpoint} of {use.name} is not what the completed run {self.run_name!r} "
                "was built on, which stays recorded. Train it again to build it on this one."
            )
        if record.state == "running":
            self._warn(f"{use.name} is still running: {use.checkpoint} may not be its last.")
        return first

    # Inner parts

    def _settings_of_run(self) -> RunSettings:
        return self.settings

    def _wait_for_files(self) -> None:
        """Wait, before a file is read, until it is the one that was last saved under its name.

        An error of saving is not raised here but where it is promised.
        """
        if self._run is not None and self._opened and os.getpid() == self._pid:
            self._run.wait_for_files()

    def _open_folder(self) -> None:
        """Take what the run has recorded and, on rank 0, claim it unless it is completed."""
        remember_secrets(secret_values(self._given_config, secret_patterns(self._given_config)))
        self.config = self._given_config
        self.settings = self._given_settings or RunSettings()
        former = _close_former_object(self) if self.rank == 0 else None
        check_unfinished_claims(self.folder)
        is_ours = is_run_folder(self.folder)  # other tools write a run.json, too
        record = find_run(self.folder, is_alive=self._is_alive) if is_ours else None
        if record is not None and record.data:
            if not self._names_run:
                self.run_name = record.run_name
            if not self._names_experiment:
                self.experiment_id = record.experiment_id or self.experiment_id
            self.settings = settings_of_run(record, self._given_settings)
        if record is not None and record.state == "completed":
            from ._recording.finished_run import FinishedRun

            self._finished = FinishedRun(
                record, sinks=self._sinks, console=self._console, is_alive=self._is_alive
            )
            # Another rank may still see the run that rank 0 has just replaced.
            if self._finished.config is not None and (self.rank == 0 or not self.config):
                self.config = self._finished.config
        elif self.rank == 0:
            self._start_attempt()
        if self.rank != 0:
            return
        atexit.register(self._at_exit)
        _open_objects[self.folder] = self
        if former is not None:
            self._warn(
                f"The run {self.run_name!r} was already open in this process, since "
                f"{former._opened_at}: it continues here, and that Bookkeeping is closed."
            )

    def _start_attempt(
        self, completed: FinishedRun | None = None, first_metrics: Collection[str] = ()
    ) -> OpenRun:
        """Claim the run, also a completed one, and begin to write in the background."""
        from ._recording.open_run import OpenRun  # here, as logging is slow to import

        claim = claim_run(
            self.folder,
            run_name=self.run_name,
            experiment_id=self.experiment_id,
            swept=self._swept,
            config=self._shown_config or None,
            may_share=self._may_share,
            unless=completed_since(read_run(self.folder)) if completed is None else None,
            adds_to=None if completed is None else completed.record,
            is_alive=self._is_alive,
            clock=self._clock,
        )
        try:
            run = self._run = OpenRun(
                claim,
                settings=self.settings,
                sinks=self._sinks,
                console=self._console,
                adds=completed is not None,
                clock=self._clock,
            )
            stored = None if completed is None else completed.config
            run.start(self._shown_config, stored_config=stored, first_metrics=first_metrics)
            self._warn_of_literal_secrets()
        except BaseException as error:
            with contextlib.suppress(Exception):
                if completed is None:
                    claim.finish(final_state(error), error)
                else:
                    claim.finish("completed")
            if completed is not None and self._run is not None:
                self._run.release()
                self._run = None  # the completed run stays open
            raise
        return run

    def _training(self, act: str, first_metrics: Collection[str] = ()) -> OpenRun | None:
        """The open run, claimed if it was completed; None on a rank that writes nothing.

        Raises:
            RunClaimed: If another process holds it; see `_writing` for the others.
        """
        finished = self._finished
        if finished is None:
            # log_metrics does not ask for the claim: what writes its queue does.
            return self._open_run() if act == "log_metrics" else self._writing()  # type: ignore[return-value]
        if self._writing() is None:
            return None
        run = self._start_attempt(finished, first_metrics)
        self._finished = None
        run.take_over(finished, act)
        run.request_heartbeat()  # which records what is added, in case the process is killed
        return run

    def _warn_of_literal_secrets(self) -> None:
        """Say which line to write instead; within a Hydra app, expkit-hydra has said so."""
        hydra = sys.modules.get("hydra.core.hydra_config")
        config = self._given_config
        if not config or (hydra is not None and hydra.HydraConfig.initialized()):
            return
        for line in literal_secrets(config, secret_patterns(config)):
            place: object = self._shown_config
            for key in line.partition(":")[0].split("."):
                place = place.get(key) if isinstance(place, Mapping) else None
            if "${" not in str(place):  # else it is a reference, and stands elsewhere
                self._warn(secret_warning(line))

    def _saver_of(self, run: OpenRun) -> CheckpointSaver:
        """What saves this run's checkpoints; made for the first one, as its imports are slow."""
        if self._saver is None:
            from ._checkpoints.saver import CheckpointSaver

            saver = CheckpointSaver(run)
            run.await_before_end(saver)
            self._saver = saver
        return self._saver

    def _writing(self) -> OpenRun | FinishedRun | None:
        """The open run, which is still ours; as `_open_run`.

        Raises:
            ClaimLost: If somebody else has claimed the run, or it was moved away.
            RuntimeError: As `_open_run`.
        """
        run = self._open_run()
        if run is not None:
            with contextlib.suppress(OSError):  # a server that is away for a moment stops no log()
                run.check()
        return run

    def _open_run(self) -> OpenRun | FinishedRun | None:
        """The open run; None on a rank that writes nothing.

        Raises:
            ClaimLost: If it is known that somebody else has claimed the run.
            RuntimeError: If the run is not open, or belongs to the process that forked this one.
        """
        run = self._run
        if run is not None and run.lost is not None:
            raise run.lost
        if self._opened:
            if os.getpid() != self._pid:
                raise RuntimeError(
                    f"The run {self.run_name!r} belongs to process {self._pid}, from which this "
                    "one was forked. Return results to it and write them there."
                )
            return run if run is not None or self.rank != 0 else self._finished
        if self.rank != 0:
            return None
        if self._taken_over_at is not None:
            raise RuntimeError(
                f"This Bookkeeping of {self.folder} is closed, as another one of this process has "
                f"opened the same folder, at {self._taken_over_at}. Use that one, or give each a "
                "folder of its own."
            )
        raise RuntimeError(
            f"The run {self.run_name!r} is not open. Use `with Bookkeeping(…) as run:`, or "
            "run.open() and, at the end, run.close()."
        )

    def _release(self) -> None:
        """Release threads, files and signal handlers; nothing is written from here on."""
        self._opened = False
        for run in (self._run, self._finished):
            if run is not None:
                run.release()
        if self._signals is not None:
            self._signals.__exit__(None, None, None)
            self._signals = None
        atexit.unregister(self._at_exit)
        if _open_objects.get(self.folder) is self:
            del _open_objects[self.folder]

    def _at_exit(self) -> None:
        """Record `interrupted`: the process ends, and nobody closed the run."""
        with contextlib.suppress(Exception):
            self.close("interrupted")

    def _warn(self, text: str) -> None:
        run = self._run or self._finished
        if run is not None and self.rank == 0:
            run.warn(text)


def _describe_replaced(replaced: Mapping[str, tuple[object, object]]) -> str:
    values = [f"{place} is {now}, not {before}" for place, (before, now) in replaced.items()]
    more = f" and {len(values) - MOST_REPLACED} more" if len(values) > MOST_REPLACED else ""
    return (
        "The configuration has changed, and the checkpoint has restored what it was saved with: "
        f"{'; '.join(values[:MOST_REPLACED])}{more}. To train with the new values, set them after "
        "resume()."
    )


MOST_REPLACED = 8
_open_objects: dict[Path, Bookkeeping] = {}  # of this process, by folder


def _close_former_object(successor: Bookkeeping) -> Bookkeeping | None:
    """Close the object that an earlier run of a notebook cell left open for this folder."""
    former = _open_objects.pop(successor.folder, None)
    # In a forked child it is the parent's, and so are its queued lines.
    if former is None or former._pid != os.getpid():
        return None
    if former._run is not None:
        former._run.abandon()
    elif former._finished is not None:
        with contextlib.suppress(Exception):
            former._finished.finish()
    former._release()
    former._taken_over_at = successor._opened_at
    return former


def _calling_line() -> str:
    """Where this class was called from: the script's whole path and the line, `train.py:12`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
