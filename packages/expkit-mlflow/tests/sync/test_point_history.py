import math
from functools import partial
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from expkit_mlflow._sync.point_history import MOST_READINGS, Comparison, PointHistory

POINTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-2, 8), st.sampled_from([0.0, 1.0, math.nan]))
)


@given(POINTS)
def test_the_first_value_of_each_key_and_step_is_new_and_no_other(points):
    history = PointHistory()
    first_values = {}
    readings = []

    def earlier(end):
        readings.append(end)
        return points[:end]

    for number, (key, step, value) in enumerate(points):
        comparison = history.add(key, step, value, partial(earlier, number))

        if (key, step) not in first_values:
            assert comparison is Comparison.NEW
            first_values[key, step] = value
        else:
            same = repr(first_values[key, step]) == repr(value)
            assert comparison is (Comparison.SAME if same else Comparison.CHANGED)
    assert len(readings) <= MOST_READINGS


def test_rising_steps_never_read_the_journal_back():
    history = PointHistory()

    def earlier():
        raise AssertionError("read back")

    assert all(history.add("loss", step, 0.0, earlier) is Comparison.NEW for step in range(1000))


def test_a_resumed_run_holds_in_memory_what_it_repeats_and_no_more():
    def attempt(first, last):
        for step in range(first, last):
            yield "loss", step, 1.0
            if step % 10 == 9:
                yield "val_loss", step // 10, 0.5

    first = list(attempt(0, 1000))
    history = PointHistory()
    for key, step, value in first:
        assert history.add(key, step, value, list) is Comparison.NEW
    for key, step, value in chain(attempt(990, 1000), attempt(1000, 3000)):
        repeated = step < (1000 if key == "loss" else 100)
        comparison = history.add(key, step, value, lambda: first)
        assert comparison is (Comparison.SAME if repeated else Comparison.NEW)

    assert len(history._values) == 11
