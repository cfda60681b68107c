"""What jobs of foreign sweepers get and what they return: pickles, for their owner alone.

Loading a pickle runs what is in it, so nobody else may be able to write here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._cluster.errors import SlurmError
from .layout import PICKLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

RESULTS = "results"


def write_payload(
    path: Path,
    configs: Sequence[DictConfig],
    hydra_context: HydraContext,
    task_function: TaskFunction,
) -> None:
    """Write what the jobs of a submission need.

    Raises:
        SlurmError: If something of it cannot be pickled.
    """
    from hydra.core.singleton import Singleton

    common = {
        "task_function": task_function,
        "hydra_context": hydra_context,
        "singletons": Singleton.get_state(),
    }
    parts = {
        "path": _search_path(),
        "common": _pickled(common),
        # Each on its own: a job loads one configuration, not those of all the others.
        "configs": [_pickled(config) for config in configs],
    }
    (path / RESULTS).mkdir(mode=0o700)
    write_private(path / PICKLE, pickle.dumps(parts))


def read_payload(path: Path, number: int) -> tuple[dict[str, Any], DictConfig]:
    """What all jobs share, and the configuration of one; modules are found as at submission."""
    parts = pickle.loads((path / PICKLE).read_bytes())
    sys.path[:] = parts["path"]
    return pickle.loads(parts["common"]), pickle.loads(parts["configs"][number])


def pickled_function(task_function: TaskFunction) -> bytes:
    """A function that nobody can import, with what importing its script would have brought.

    Raises:
        SlurmError: If it cannot be pickled.
    """
    from hydra import version

    from expkit_hydra.launching import resolvers

    base: Any = version.getbase()
    common = {"task_function": task_function, "resolvers": dict(resolvers())}
    parts = {
        "path": _search_path(),
        "common": _pickled(common),
        # A sentinel where nobody has set it.
        "version_base": f"{base.major}.{base.minor}" if hasattr(base, "major") else None,
    }
    return pickle.dumps(parts)


def read_function(path: Path) -> TaskFunction:
    """The function of a grid, as `pickled_function` gave it."""
    from hydra import version

    from expkit_hydra.launching import resolvers

    parts = pickle.loads((path / PICKLE).read_bytes())
    sys.path[:] = parts["path"]
    common = pickle.loads(parts["common"])
    # As hydra.core.singleton does it, but for those that this process has already.
    resolvers().update({**common["resolvers"], **resolvers()})
    if parts["version_base"] is not None:
        version.setbase(parts["version_base"])
    task_function: TaskFunction = common["task_function"]
    return task_function


def _search_path() -> list[str]:
    """Where modules are found; an empty entry stands for the working directory."""
    return [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100


def _pickled(what: object) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(what))
    except Exception as error:
        raise SlurmError(
            "The tasks get the function and all it uses as a pickle, which cannot be made: "
            f"{type(error).__name__}: {error}. Nothing has been submitted. Create such things in "
            "the function, or in a module that it imports. A function at the top level of a "
            "script is imported instead of pickled with hydra/sweeper=expkit and `defaults: "
            "[expkit, …, _self_]`."
        ) from error


def result_path(path: Path, number: int) -> Path:
    """Where a job leaves its result."""
    return path / RESULTS / f"{number}.pkl"


def write_result(path: Path, number: int, job: JobReturn) -> None:
    """Leave a job's result, and in its log what went wrong."""
    from hydra.core.utils import JobStatus

    from expkit_bookkeeping.launching import traceback_text
    from expkit_hydra.launching import raw_return_value

    if job.status == JobStatus.FAILED:
        error = raw_return_value(job)
        text = traceback_text(error).rstrip()
        print(text, file=sys.stderr, flush=True)
        if error.__traceback__ is not None:  # no pickle holds it
            with contextlib.suppress(Exception):  # a method of the user's class
                error.add_note(f"\nIn the job:\n{text}")
    write_private(result_path(path, number), _portable(job))


def exit_code(job: JobReturn) -> int:
    """The exit code of a job's process."""
    from hydra.core.utils import JobStatus

    return 1 if job.status == JobStatus.FAILED else 0


def read_result(path: Path, number: int) -> JobReturn | None:
    """What a job has returned; None if it has left nothing yet."""
    try:
        data = result_path(path, number).read_bytes()
    except FileNotFoundError:
        return None
    try:
        job: JobReturn = pickle.loads(data)
    except Exception as error:
        return failed(f"What it returned cannot be read here: {type(error).__name__}: {error}.")
    return job


def failed(error: str | Exception, job: JobReturn | None = None) -> JobReturn:
    """The result of a job that failed.

    Args:
        error: Why.
        job: What it returned, if anything.
    """
    from hydra.core.utils import JobReturn, JobStatus

    from expkit_hydra import GridError

    job = job or JobReturn()
    job.status = JobStatus.FAILED
    # Of the two errors the one that Hydra prints without a traceback: there is none of the user's.
    job.return_value = GridError(error) if isinstance(error, str) else error
    return job


def discard(path: Path) -> None:
    """Remove what nobody needs once the results have been taken; the logs stay."""
    with contextlib.suppress(OSError):
        (path / PICKLE).unlink()
    shutil.rmtree(path / RESULTS, ignore_errors=True)


def _portable(job: JobReturn) -> bytes:
    """The result as a pickle that can be loaded, whatever the function returned or raised."""
    import cloudpickle
    from hydra.core.utils import JobStatus

    from expkit_bookkeeping.launching import error_facts
    from expkit_hydra.launching import raw_return_value

    value = raw_return_value(job)
    try:
        data: bytes = cloudpickle.dumps(job)
        pickle.loads(data)  # an exception with arguments of its own fails only here
    except Exception as pickle_error:
        if job.status == JobStatus.FAILED:
            facts = error_facts(value)
            error = RuntimeError(f"{facts['type']}: {facts['message']}")
            for note in getattr(value, "__notes__", ()):
                error.add_note(note)
            job.return_value = error
        else:
            failed(
                f"The job is done, but what its function returned, a {type(value).__name__}, "
                f"cannot be pickled: {pickle_error}. Return a number, text, or a list or dict of "
                "them.",
                job,
            )
        return bytes(cloudpickle.dumps(job))
    return data


def write_private(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, readable for its owner alone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
