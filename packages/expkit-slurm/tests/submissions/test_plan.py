"""Which runs become which arrays."""

from hypothesis import given
from hypothesis import strategies as st

from expkit_slurm._submissions.plan import (
    ArrayPlan,
    cut_into_arrays,
    group_by_options,
    halve,
    share_limit,
)
from expkit_slurm._submissions.record import Array, array_at, places_of_task, task_at

OPTIONS = st.sampled_from([(), (("mem", "1G"),), (("mem", "2G"),), (("exclusive", None),)])


@given(
    options=st.lists(OPTIONS, min_size=1, max_size=200),
    runs_per_task=st.integers(1, 7),
    size=st.integers(1, 60),
)
def test_every_run_stands_in_one_task_of_an_array_of_its_resources(options, runs_per_task, size):
    order, groups = group_by_options(options)
    plans = cut_into_arrays(groups, runs_per_task=runs_per_task, max_array_size=size)
    arrays = [
        Array(number, str(number), plan.first, plan.runs, plan.options)
        for number, plan in enumerate(plans)
    ]

    assert sorted(order) == list(range(len(options)))
    seen = []
    for plan, array in zip(plans, arrays, strict=True):
        assert 0 < plan.tasks(runs_per_task) <= size  # the largest index is one less
        for task in range(plan.tasks(runs_per_task)):
            for place in places_of_task(array, task, runs_per_task):
                assert array_at(arrays, place) == array
                assert task_at(array, place, runs_per_task) == task
                assert options[order[place]] == plan.options
                seen.append(place)
    assert seen == list(range(len(options)))


@given(runs=st.integers(1, 500), runs_per_task=st.integers(1, 9), first=st.integers(0, 100))
def test_halves_have_the_runs_of_the_whole_and_whole_tasks_in_front(runs, runs_per_task, first):
    plan = ArrayPlan(first, runs, ())
    parts = halve(plan, runs_per_task)

    if plan.tasks(runs_per_task) == 1:
        assert parts is None
        return
    front, back = parts
    assert (front.first, back.first) == (first, first + front.runs)
    assert front.runs + back.runs == runs
    assert front.runs % runs_per_task == 0
    assert min(front.runs, back.runs) > 0


@given(limit=st.integers(1, 300), tasks=st.lists(st.integers(1, 1000), min_size=1, max_size=12))
def test_the_shares_of_a_limit_add_up_to_it_unless_there_are_more_arrays(limit, tasks):
    shares = share_limit(limit, tasks)

    assert all(share >= 1 for share in shares)
    assert sum(shares) <= max(limit, len(tasks)) + len(tasks) - 1
    if limit >= sum(tasks):
        assert all(a >= b for a, b in zip(shares, tasks, strict=True))


def test_without_a_limit_there_is_none():
    assert share_limit(None, [3, 4]) == [None, None]
