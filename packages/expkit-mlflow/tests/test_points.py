import math

from hypothesis import given
from hypothesis import strategies as st

from expkit_mlflow._points import SeenPoints, Verdict

POINTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.sampled_from([0.0, 1.0, math.nan]))
)


@given(POINTS)
def test_the_first_value_of_each_key_and_step_is_new_and_no_other(points):
    seen = SeenPoints()
    known = {}
    for number, (key, step, value) in enumerate(points):
        verdict = seen.judge(key, step, value, lambda end=number: points[:end])

        if (key, step) not in known:
            assert verdict is Verdict.NEW
            known[key, step] = value
        else:
            same = repr(known[key, step]) == repr(value)
            assert verdict is (Verdict.SAME if same else Verdict.CHANGED)


def test_rising_steps_never_read_the_journal_back():
    seen = SeenPoints()

    def earlier():
        raise AssertionError("read back")

    assert all(seen.judge("loss", step, 0.0, earlier) is Verdict.NEW for step in range(1000))
