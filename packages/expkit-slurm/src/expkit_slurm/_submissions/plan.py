"""Which runs become which array jobs; pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._cluster.options import Options
    from .._cluster.script import ArrayScript
    from .record import SubmittedRun
    from .settings import SubmissionSettings


@dataclass(frozen=True)
class ArrayPlan:
    """One array job: the runs from place `first` on, with the same resources."""

    first: int
    runs: int
    options: Options

    def tasks(self, runs_per_task: int) -> int:
        """How many array tasks these runs need.

        Examples:
            >>> ArrayPlan(0, 7, ()).tasks(3)
            3
        """
        return -(-self.runs // runs_per_task)


@dataclass(frozen=True)
class SubmissionPlan:
    """What would be submitted: runs in their order, and their arrays."""

    runs: tuple[SubmittedRun, ...]
    arrays: tuple[ArrayPlan, ...]
    script: ArrayScript
    settings: SubmissionSettings

    def parallelism(self) -> list[int | None]:
        """Most tasks at once of each array."""
        tasks = [array.tasks(self.settings.runs_per_task) for array in self.arrays]
        return share_limit(self.settings.array_parallelism, tasks)


def plan_submission(
    runs: Sequence[SubmittedRun],
    options: Sequence[Options],
    *,
    script: ArrayScript,
    settings: SubmissionSettings,
    max_array_size: int,
) -> SubmissionPlan:
    """Arrange runs into arrays: one for each set of resources, as long as the cluster allows.

    Args:
        runs: The runs.
        options: What each asks of Slurm.
        script: The batch script.
        settings: How to submit.
        max_array_size: The cluster's MaxArraySize.
    """
    order, groups = group_by_options(options)
    arrays = cut_into_arrays(
        groups, runs_per_task=settings.runs_per_task, max_array_size=max_array_size
    )
    return SubmissionPlan(tuple(runs[place] for place in order), tuple(arrays), script, settings)


def group_by_options(options: Sequence[Options]) -> tuple[list[int], list[tuple[Options, int]]]:
    """Bring runs of the same resources together, each group where its first run stands.

    Returns:
        The places of the runs in their new order, and each group's resources and size.

    Examples:
        >>> a, b = (("mem", "1G"),), (("mem", "2G"),)
        >>> group_by_options([a, b, a])
        ([0, 2, 1], [((('mem', '1G'),), 2), ((('mem', '2G'),), 1)])
    """
    places_by_options: dict[Options, list[int]] = {}
    for place, run_options in enumerate(options):
        places_by_options.setdefault(run_options, []).append(place)
    order = [place for places in places_by_options.values() for place in places]
    return order, [(group, len(places)) for group, places in places_by_options.items()]


def cut_into_arrays(
    groups: Sequence[tuple[Options, int]], *, runs_per_task: int, max_array_size: int
) -> list[ArrayPlan]:
    """Cut groups of runs into arrays that the cluster accepts.

    Args:
        groups: Resources and number of runs, in the order of the runs.
        runs_per_task: Runs that share a task.
        max_array_size: Slurm's MaxArraySize: the largest index is one less, so an array that
            starts at 0 has at most this many tasks.

    Examples:
        >>> arrays = cut_into_arrays([((), 120)], runs_per_task=1, max_array_size=51)
        >>> [(array.first, array.runs) for array in arrays]
        [(0, 51), (51, 51), (102, 18)]
    """
    most_runs = max(1, max_array_size) * runs_per_task
    arrays = []
    first = 0
    for options, count in groups:
        for start in range(0, count, most_runs):
            arrays.append(ArrayPlan(first + start, min(most_runs, count - start), options))
        first += count
    return arrays


def halve(plan: ArrayPlan, runs_per_task: int) -> tuple[ArrayPlan, ArrayPlan] | None:
    """Two arrays in the place of one that is too long for a submit limit; None for one task."""
    tasks = plan.tasks(runs_per_task)
    if tasks < 2:
        return None
    front = tasks // 2 * runs_per_task
    return (
        ArrayPlan(plan.first, front, plan.options),
        ArrayPlan(plan.first + front, plan.runs - front, plan.options),
    )


def share_limit(parallelism: int | None, tasks: Sequence[int]) -> list[int | None]:
    """Most tasks at once of each array, so that together they keep to one limit.

    Each gets at least one: more arrays than the limit allows exceed it a little.

    Examples:
        >>> share_limit(10, [51, 51, 18])
        [4, 4, 2]
    """
    if parallelism is None:
        return [None for _ in tasks]
    total = sum(tasks)
    exact = [parallelism * count / total for count in tasks]
    shares = [max(1, int(share)) for share in exact]
    # What rounding left goes to those that lost most by it.
    left = max(0, parallelism - sum(shares))
    for place in sorted(range(len(tasks)), key=lambda i: shares[i] - exact[i])[:left]:
        shares[place] += 1
    return list(shares)
