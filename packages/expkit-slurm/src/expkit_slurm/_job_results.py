"""What the jobs of foreign sweepers return: pickles, for their owner alone."""

from __future__ import annotations

import contextlib
import pickle
import sys
from pathlib import Path

from ._submissions.payload import NotPrivateError, read_private, results_folder, write_private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.utils import JobReturn


def _name(number: int) -> str:
    return f"{number}.pkl"


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
    write_private(results_folder(path), _name(number), _portable(job))


def exit_code(job: JobReturn) -> int:
    """The exit code of a job's process."""
    from hydra.core.utils import JobStatus

    return 1 if job.status == JobStatus.FAILED else 0


def read_result(path: Path, number: int) -> JobReturn | None:
    """What a job has returned; None if it has left nothing yet.

    A result that somebody else could have written is a failure, which says so.
    """
    try:
        data = read_private(results_folder(path), _name(number))
    except FileNotFoundError:
        return None
    except NotPrivateError as error:
        return failed(str(error))
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
