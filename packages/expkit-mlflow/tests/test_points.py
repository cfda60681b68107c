import math
from functools import partial
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from expkit_mlflow._points import MOST_READINGS, SeenPoints, Verdict

POINTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(-2, 8), st.sampled_from([0.0, 1.0, math.nan]))
)


@given(POINTS)
def test_the_first_value_of_each_key_and_step_is_new_and_no_other(points):
    seen = SeenPoints()
    known = {}
    readings = []

    def earlier(end):
        readings.append(end)
        return points[:end]

    for number, (key, step, value) in enumerate(points):
        verdict = seen.judge(key, step, value, partial(earlier, number))

        if (key, step) not in known:
            assert verdict is Verdict.NEW
            known[key, step] = value
        else:
            same = repr(known[key, step]) == repr(value)
            assert verdict is (Verdict.SAME if same else Verdict.CHANGED)
    assert len(readings) <= MOST_READINGS


def test_rising_steps_never_read_the_journal_back():
    seen = SeenPoints()

    def earlier():
        raise AssertionError("read back")

    assert all(seen.judge("loss", step, 0.0, earlier) is Verdict.NEW for step in range(1000))


def test_a_resumed_run_holds_in_memory_what_it_repeats_and_no_more():
    def attempt(first, last):
        for step in range(first, last):
            yield "loss", step, 1.0
            if step % 10 == 9:
                yield "val_loss", step // 10, 0.5

    first = list(attempt(0, 1000))
    seen = SeenPoints()
    for key, step, value in first:
        assert seen.judge(key, step, value, list) is Verdict.NEW
    for key, step, value in chain(attempt(990, 1000), attempt(1000, 3000)):
        repeated = step < (1000 if key == "loss" else 100)
        verdict = seen.judge(key, step, value, lambda: first)
        assert verdict is (Verdict.SAME if repeated else Verdict.NEW)

    assert len(seen._values) == 11
