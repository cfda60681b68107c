import copy
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_timer import Timer

durations = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)


class Clock:
    now_ns = 0

    def __call__(self):
        return self.now_ns


def timed(*attempts):
    """A timer with these durations in ns: each attempt begins with a copy of the one before."""
    timer = Timer(clock=Clock())
    for number, values in enumerate(attempts):
        if number:
            timer = copy.copy(timer)
        for value in values:
            with timer:
                Clock.now_ns += value
    return timer


@given(st.lists(durations, min_size=1, max_size=5))
def test_attempts_combine_to_the_statistics_of_all_blocks(attempts):
    all_values = [value for values in attempts for value in values]

    combined = timed(*attempts).statistics()

    whole = timed(all_values).statistics()
    scale = 1e-12 * max(all_values)
    assert combined.count == whole.count
    assert combined.total_s == pytest.approx(whole.total_s)
    assert combined.mean_s == pytest.approx(whole.mean_s)
    assert combined.std_s == pytest.approx(whole.std_s, rel=1e-6, abs=scale)
    assert (combined.min_s, combined.max_s) == (whole.min_s, whole.max_s)
    assert combined.min_s <= combined.p50_s <= combined.p95_s <= combined.max_s


@given(durations)
def test_one_attempt_keeps_its_statistics_and_empty_attempts_do_not_count(values):
    one = timed(values).statistics()

    assert timed(values, []).statistics() == one
    assert timed([], values, []).statistics() == one


@given(durations)
def test_two_equal_attempts_have_the_quantiles_of_each(values):
    one, both = timed(values).statistics(), timed(values, values).statistics()

    assert both.p50_s == pytest.approx(one.p50_s, abs=1e-12)
    assert both.p95_s == pytest.approx(one.p95_s, abs=1e-12)


def test_nothing_combines_to_nothing():
    nothing = timed([], []).statistics()

    assert nothing.count == 0
    assert nothing.total_s == 0
    assert all(math.isnan(value) for value in nothing[2:])


@given(durations)
def test_quantiles_are_those_of_the_standard_library(values):
    cuts = statistics.quantiles([*values, *values], n=20, method="inclusive")

    own = timed([*values, *values]).statistics()

    assert [own.p50_s, own.p95_s] == pytest.approx([cuts[9] / 1e9, cuts[18] / 1e9])


def test_a_small_deviation_from_a_large_mean_is_kept():
    hour = 3_600_000_000_000

    assert timed([hour - 1000, hour, hour + 1000]).statistics().std_s == pytest.approx(
        1e-6, rel=1e-6
    )


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 s"),
        (400, "400 ns"),
        (999, "999 ns"),
        (1_000, "1.00 µs"),
        (12_300_000, "12.3 ms"),
        (999_900_000, "1.00 s"),
        (9_996_000_000, "10.0 s"),
        (59_940_000_000, "59.9 s"),
        (59_960_000_000, "0:01:00"),
        (3_661_000_000_000, "1:01:01"),
        (360_000_400_000_000, "100:00:00"),
    ],
)
def test_durations_are_written_with_three_digits_and_a_unit(nanoseconds, text):
    assert timed([nanoseconds]).text == text


@pytest.mark.parametrize(("spare", "text"), [(4, "999 ns"), (6, "1.00 µs")])
def test_a_mean_of_fractions_of_a_nanosecond_is_rounded(spare, text):
    assert f"blocks of {text} ±" in str(timed([1000] * spare + [999] * (10 - spare)))
