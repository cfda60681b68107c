"""Which runs become which array jobs; pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from ._options import Options


@dataclass(frozen=True)
class ArrayPlan:
    """One array job: the runs from place `first` on, with the same resources."""

    first: int
    runs: int
    options: Options

    def tasks(self, runs_per_task: int) -> int:
        """How many array tasks these runs need.

        >>> ArrayPlan(0, 7, ()).tasks(3)
        3
        """
        return -(-self.runs // runs_per_task)


def group(options: Sequence[Options]) -> tuple[list[int], list[tuple[Options, int]]]:
    """Bring runs of the same resources together, each group where its first run stands.

    Returns:
        The places of the runs in their new order, and each group's resources and size.

    >>> a, b = (("mem", "1G"),), (("mem", "2G"),)
    >>> group([a, b, a])
    ([0, 2, 1], [((('mem', '1G'),), 2), ((('mem', '2G'),), 1)])
    """
    places: dict[Options, list[int]] = {}
    for place, each in enumerate(options):
        places.setdefault(each, []).append(place)
    order = [place for found in places.values() for place in found]
    return order, [(each, len(found)) for each, found in places.items()]


def plan_arrays(
    groups: Sequence[tuple[Options, int]], *, runs_per_task: int, max_array_size: int
) -> list[ArrayPlan]:
    """Cut groups of runs into arrays that the cluster accepts.

    Args:
        groups: Resources and number of runs, in the order of the runs.
        runs_per_task: Runs that share a task.
        max_array_size: Slurm's MaxArraySize: the largest index is one less, so that an array that
            starts at 0 has at most so many tasks.

    >>> [(each.first, each.runs) for each in plan_arrays([((), 120)], runs_per_task=1,
    ...                                                  max_array_size=51)]
    [(0, 51), (51, 51), (102, 18)]
    """
    most = max(1, max_array_size) * runs_per_task
    plans = []
    first = 0
    for options, count in groups:
        for start in range(0, count, most):
            plans.append(ArrayPlan(first + start, min(most, count - start), options))
        first += count
    return plans


def halves(plan: ArrayPlan, runs_per_task: int) -> tuple[ArrayPlan, ArrayPlan] | None:
    """Two arrays in the place of one that is too long for a submit limit; None for one task."""
    tasks = plan.tasks(runs_per_task)
    if tasks < 2:
        return None
    front = tasks // 2 * runs_per_task
    return (
        ArrayPlan(plan.first, front, plan.options),
        ArrayPlan(plan.first + front, plan.runs - front, plan.options),
    )


def shares(parallelism: int | None, tasks: Sequence[int]) -> list[int | None]:
    """Most tasks at once of each array, so that together they keep to one limit.

    Each gets at least one: more arrays than the limit allows run a little more.

    >>> shares(10, [51, 51, 18])
    [4, 4, 2]
    """
    if parallelism is None:
        return [None for _ in tasks]
    total = sum(tasks)
    exact = [parallelism * each / total for each in tasks]
    found = [max(1, int(each)) for each in exact]
    # What rounding left goes to those that lost most by it.
    left = max(0, parallelism - sum(found))
    for place in sorted(range(len(tasks)), key=lambda i: found[i] - exact[i])[:left]:
        found[place] += 1
    return list(found)
