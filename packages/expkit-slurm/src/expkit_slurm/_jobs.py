"""Jobs of foreign sweepers: override lists whose return values somebody waits for.

They have no grid and no tree, so one pickle holds the function and the configurations, composed at
submission, and each job leaves one with its result. Only their owner can read or change them.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import SlurmError
from ._options import sbatch_options
from ._queue import Phase, Task, cause, phase
from ._scheduler import Scheduler
from ._script import find_script
from ._settings import Settings
from ._status import job_of, tasks_by_name
from ._submission import PICKLE, Order, Submission, array_of, task_of
from ._submit import create, draft, plan, submit_arrays
from ._watch import LOST_AFTER_S, interval_s

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

RESULTS = "results"


def launch_jobs(
    job_overrides: Sequence[Sequence[str]],
    initial_job_idx: int,
    *,
    config: DictConfig,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    values: Mapping[str, object],
) -> Sequence[JobReturn]:
    """Submit override lists as one array, wait, and return what the jobs returned.

    Raises:
        SlurmError: If they cannot be submitted.
    """
    import logging

    import cloudpickle
    from hydra.core.singleton import Singleton
    from hydra.core.utils import configure_log, filter_overrides, setup_globals
    from omegaconf import open_dict

    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    log = logging.getLogger("expkit_slurm")
    settings, resources = Settings.split(values)
    sweep_dir = Path(str(config.hydra.sweep.dir)).absolute()
    sweep_dir.mkdir(parents=True, exist_ok=True)
    configs = []
    for number, overrides in enumerate(job_overrides, start=initial_job_idx):
        log.info("#%d : %s", number, " ".join(filter_overrides(overrides)))
        job_config = hydra_context.config_loader.load_sweep_config(config, list(overrides))
        with open_dict(job_config):
            job_config.hydra.job.id = str(number)
            job_config.hydra.job.num = number
        configs.append(job_config)
    scheduler = Scheduler()
    script = find_script(settings.script, Path.cwd())
    orders = [Order(place) for place in range(len(configs))]
    planned = plan(
        orders,
        [sbatch_options(resources)] * len(orders),
        script=script,
        settings=replace(settings, tasks_per_run=1),
        max_array_size=scheduler.max_array_size(),
    )
    submission = draft(planned, experiment=sweep_dir, grid_id=None, program=None, facts={})
    create(submission, orders)
    (submission.path / RESULTS).mkdir()
    payload = {
        "configs": configs,
        "task_function": task_function,
        "hydra_context": hydra_context,
        "singletons": Singleton.get_state(),
    }
    _write(submission.path / PICKLE, cloudpickle.dumps(payload))
    submission = submit_arrays(
        submission,
        script,
        scheduler=scheduler,
        parallelism=planned.parallelism(),
        say=log.warning,
    )
    log.info("submitted: job %s", ", ".join(str(each.job_id) for each in submission.arrays))
    returned = _wait_for(submission, len(configs), scheduler)
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    return returned


def _wait_for(submission: Submission, count: int, scheduler: Scheduler) -> list[JobReturn]:
    import time

    begin = time.monotonic()
    gone_since: dict[int, float] = {}
    found: dict[int, JobReturn] = {}
    while True:
        jobs = [each.job_id for each in submission.arrays if each.job_id is not None]
        told = scheduler.queue(jobs)
        tasks: Mapping[str, Task] = {} if told is None else tasks_by_name(told)
        for place in range(count):
            if place in found:
                continue
            result = _read_result(submission.path / RESULTS / f"{place}.pkl")
            if result is not None:
                found[place] = result
                continue
            array = array_of(submission.arrays, place)
            number = task_of(array, place, submission.settings.runs_per_task)
            task = tasks.get(job_of(array, number) or "")
            if array.job_id is None:
                found[place] = _failed(array.error or "Slurm did not accept the job")
            elif told is not None and (task is None or phase(task.state) is Phase.OVER):
                why = "its task is gone" if task is None else cause(task)
                since = gone_since.setdefault(place, time.monotonic())
                if why is not None and (
                    (task is not None and task.exit_code) or time.monotonic() - since > LOST_AFTER_S
                ):
                    found[place] = _failed(f"job {job_of(array, number)}: {why}")
        if len(found) == count:
            return [found[place] for place in range(count)]
        time.sleep(interval_s(time.monotonic() - begin, submission.settings.poll_s or None))


def _read_result(path: Path) -> JobReturn | None:
    try:
        return pickle.loads(path.read_bytes())  # type: ignore[no-any-return]
    except FileNotFoundError:
        return None


def _failed(reason: str) -> JobReturn:
    from hydra.core.utils import JobReturn, JobStatus

    job = JobReturn(status=JobStatus.FAILED)
    job.return_value = SlurmError(reason)
    return job


def run_job_at(submission: Submission, place: int) -> int:
    """What an array task does for one of the jobs; returns the exit code."""
    import cloudpickle
    from hydra.core.singleton import Singleton
    from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals

    payload: dict[str, Any] = cloudpickle.loads((submission.path / PICKLE).read_bytes())
    Singleton.set_state(payload["singletons"])
    setup_globals()
    os.chdir(submission.directory)
    try:
        job = run_job(
            hydra_context=payload["hydra_context"],
            task_function=payload["task_function"],
            config=payload["configs"][place],
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except Exception as error:  # before or after the function: folders, logging
        job = JobReturn(status=JobStatus.FAILED)
        job.return_value = error
    failed = job.status == JobStatus.FAILED
    if failed:
        traceback.print_exception(job._return_value)
    _write(submission.path / RESULTS / f"{place}.pkl", _portable(job))
    return 1 if failed else 0


def _portable(job: JobReturn) -> bytes:
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(job)
        pickle.loads(data)
    except Exception:  # a value that cannot be pickled, an exception with arguments of its own
        job.return_value = RuntimeError(f"{type(job._return_value).__name__}: {job._return_value}")
        data = cloudpickle.dumps(job)
    return data


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and for its owner alone: loading a pickle runs what is in it."""
    draft_path = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(draft_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft_path.replace(path)
