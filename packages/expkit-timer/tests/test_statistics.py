import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_timer._statistics import Totals, combine, quantile
from expkit_timer._text import format_seconds

durations = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)


def totals(values):
    one = Totals()
    one.add(values)
    return one.statistics()


@given(st.lists(durations, min_size=1, max_size=5))
def test_parts_combine_to_the_statistics_of_all(parts):
    everything = [value for part in parts for value in part]

    combined = combine([totals(part) for part in parts])

    whole = totals(everything)
    scale = 1e-12 * max(everything)
    assert combined.count == whole.count
    assert combined.total_s == pytest.approx(whole.total_s)
    assert combined.mean_s == pytest.approx(whole.mean_s)
    assert combined.std_s == pytest.approx(whole.std_s, rel=1e-6, abs=scale)
    assert (combined.min_s, combined.max_s) == (whole.min_s, whole.max_s)
    assert combined.min_s <= combined.p50_s <= combined.p95_s <= combined.max_s


@given(durations)
def test_one_part_is_itself_and_empty_parts_do_not_count(values):
    empty = Totals().statistics()
    part = totals(values)

    assert combine([part]) == part
    assert combine([empty, part, empty]) == part


@given(durations)
def test_two_equal_parts_have_the_quantiles_of_each(values):
    part = totals(values)

    both = combine([part, part])

    assert both.p50_s == pytest.approx(part.p50_s, abs=1e-12)
    assert both.p95_s == pytest.approx(part.p95_s, abs=1e-12)


def test_nothing_combines_to_nothing():
    nothing = combine([])

    assert nothing.count == 0
    assert nothing.total_s == 0
    assert all(math.isnan(value) for value in nothing[2:])


@given(durations, st.integers(2, 100))
def test_quantiles_are_those_of_the_standard_library(values, parts):
    cuts = statistics.quantiles([*values, *values], n=parts, method="inclusive")

    ordered = sorted([*values, *values])
    assert [quantile(ordered, k / parts) for k in range(1, parts)] == pytest.approx(cuts)


def test_a_small_deviation_of_a_large_mean_is_kept():
    hour = 3_600_000_000_000

    found = totals([hour - 1000, hour, hour + 1000])

    assert found.std_s == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (4e-7, "400 ns"),
        (9.994e-7, "999 ns"),
        (1e-6, "1.00 µs"),
        (0.0123, "12.3 ms"),
        (0.9999, "1.00 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "0:01:00"),
        (3661, "1:01:01"),
        (360000.4, "100:00:00"),
        (math.nan, "-"),
    ],
)
def test_durations_are_written_with_three_digits_and_a_unit(seconds, text):
    assert format_seconds(seconds) == text
