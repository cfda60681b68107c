"""Why a job does not start, and whether that resolves by itself: squeue(1), JOB REASON CODES."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .tasks import Task

# A release lets it start; until then it waits. What Slurm itself holds has a text for a reason:
# "launch failed requeued held", "job requeued in held state".
_HELD = re.compile(r"JobHeldUser|JobHoldMaxRequeue|.*[ _]held([ _]state)?|ReservationDeleted")
_HELD_STATES = ("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
# The job asks for what its limits never give it. The group limits (AssocGrp…, QOSGrp…), those of
# jobs at a time (AssocMaxJobsLimit, QOSMaxJobsPerUserLimit) and those per user or account are
# about what others of the group use at present: they resolve as jobs end.
_PER_JOB_LIMIT = re.compile(r"(?:Assoc|QOS)M(?:ax|in)\w*Per(?:Job|Node)(?:Limit)?|QOSMin\w+")
_NEVER = {
    "DependencyNeverSatisfied": "the job that it depends on did not end as it should have",
    "BadConstraints": "no node has what its constraints ask for",
    "PartitionTimeLimit": "its time limit exceeds that of its partition",
    "MaxMemPerLimit": "it asks for more memory than the partition gives",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "AccountNotAllowed": "its partition does not take jobs of its account",
    "QOSNotAllowed": "its partition does not take jobs of its QOS",
}


@dataclass(frozen=True)
class Obstacle:
    """What keeps a job from starting until somebody acts.

    `kind` is `held` where a release lets it start, and `never` where it would have to be another
    job; `advice` says what it is and what to do.
    """

    kind: Literal["held", "never"]
    advice: str


def obstacle_of(task: Task) -> Obstacle | None:
    """What keeps a task that waits from starting; None for what resolves by itself.

    An unknown reason counts as one that does.
    """
    reason = (task.reason or "").partition(",")[0]
    if reason == "JobHeldAdmin":
        return Obstacle("held", f"job {task.array_job_id} is held by an administrator: ask why")
    if _HELD.fullmatch(reason) or task.state in _HELD_STATES:
        # One command for all tasks that have not started yet; a requeued one has a life of its own.
        job = task.name if task.restarts else task.array_job_id
        return Obstacle("held", f"held until `scontrol release {job}`")
    cause = _NEVER.get(reason)
    if cause is None and _PER_JOB_LIMIT.fullmatch(reason):
        cause = "it asks for more, or less, than one job may have"
    if cause is None:
        return None
    return Obstacle(
        "never",
        f"it can never start: {cause}; `scancel {task.array_job_id}` takes it out of the queue, "
        "and the same command then submits it again",
    )
