import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from expkit_plotting._data.runs import Curve
from expkit_plotting._data.statistics import (
    EDGES,
    align,
    direction_of,
    log_floor,
    mean_and_spread,
    quantiles,
    ranked,
    thinned,
)


def curve(values, steps=None) -> Curve:
    values = np.asarray(values, dtype=float)
    return Curve(np.arange(len(values)) if steps is None else np.asarray(steps, float), values)


def test_a_run_that_stopped_early_does_not_pull_the_mean():
    _, values = align([curve([1.0, 2.0]), curve([3.0])])

    mean, spread, count = mean_and_spread(values)

    assert mean.tolist() == [2.0, 2.0]
    assert count.tolist() == [2, 1]
    assert np.isnan(spread[1])


def test_runs_logged_at_different_steps_are_interpolated_not_extrapolated():
    steps, values = align([curve([0.0, 10.0], [0, 10]), curve([1.0, 2.0, 3.0], [2, 5, 12])])

    assert steps.tolist() == [0, 2, 5, 10, 12]
    np.testing.assert_allclose(values[0], [0, 2, 5, 10, np.nan])
    np.testing.assert_allclose(values[1], [np.nan, 1, 2, 2 + 5 / 7, 3])


def test_a_logged_nan_stays_a_gap():
    _, values = align([curve([1.0, np.nan, 3.0, np.inf]), curve([1.0, 1.0])])

    assert np.isnan(values[0, [1, 3]]).all()


@given(
    arrays.arrays(
        float,
        st.tuples(st.integers(1, 6), st.integers(1, 8)),
        elements=st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))),
    )
)
def test_mean_and_spread_equal_numpys(values):
    mean, spread, count = mean_and_spread(values)

    for column in range(values.shape[1]):
        logged = values[~np.isnan(values[:, column]), column]
        assert count[column] == len(logged)
        if len(logged):
            assert mean[column] == pytest.approx(logged.mean(), abs=1e-6)
        if len(logged) > 1:
            assert spread[column] == pytest.approx(logged.std(ddof=1), abs=1e-6)
        else:
            assert np.isnan(spread[column])


def test_quantiles_ignore_runs_that_ended():
    bands = quantiles(np.array([[1.0, 1.0], [3.0, np.nan]]))

    assert bands[2].tolist() == [2.0, 1.0]


@given(
    arrays.arrays(
        float,
        st.tuples(st.integers(1, 9), st.integers(1, 6)),
        elements=st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))),
    )
)
def test_quantiles_equal_numpys(values):
    logged = ~np.isnan(values).all(axis=0)

    bands = quantiles(values)

    assert np.isnan(bands[:, ~logged]).all()
    if logged.any():
        expected = np.nanquantile(values[:, logged], EDGES, axis=0)
        np.testing.assert_allclose(bands[:, logged], expected, rtol=1e-9, atol=1e-6)


def test_runs_that_share_no_steps_do_not_take_the_square_of_their_memory():
    runs = [curve(np.full(500, i), np.arange(500) + i / 200) for i in range(200)]

    steps, values = align(runs)  # 100,000 steps in all

    assert values.shape == (200, len(steps))
    assert len(steps) <= 4000
    assert (np.nanmax(values, axis=1) == np.arange(200)).all()


@pytest.mark.filterwarnings("error")
def test_what_has_diverged_beyond_all_axes_is_a_gap():
    _, values = align([curve([1.7e308, 1e199, 1.0]), curve([1.0, -1e199, -np.inf])])

    mean, _, count = mean_and_spread(values)

    assert mean.tolist() == [1.0, 0.0, 1.0]
    assert count.tolist() == [1, 2, 1]
    assert ranked([[curve([1e300])], [curve([1.0])]], "maximize") == [1, 0]


def test_groups_are_ranked_by_the_mean_of_their_best_values():
    groups = [[curve([0.9, 0.1]), curve([0.5])], [curve([0.8]), curve([0.8])], [curve([np.nan])]]

    assert ranked(groups, "maximize") == [1, 0, 2]
    assert ranked([[curve([3.0, 1.0])], [curve([2.0])]], "minimize") == [0, 1]


@pytest.mark.parametrize("name", ["loss", "val_loss", "test/error", "perplexity", "epoch_time_s"])
def test_less_is_better_for(name):
    assert direction_of(name) == "minimize"


@pytest.mark.parametrize("name", ["accuracy", "val_f1", "lossless_ratio", "bleu"])
def test_more_is_better_for(name):
    assert direction_of(name) == "maximize"


@pytest.mark.parametrize(
    ("metric", "values", "floor"),
    [
        ("loss", [1e4, 2.0], 2.0),
        ("loss", [0.9, 1e-8], 1e-8),
        ("lr", [1e-3, 1e-7, 0.0], 1e-7),
        ("grad_norm", [1e6, 0.0, 1e-3, np.nan, np.inf], 1e-3),
        ("loss", [2.3, 0.03], None),
        ("loss", [2.3, 0.03, 0.0], None),
        ("loss", [0.0, 0.0], None),
        ("loss", [1e5, 1.0, -1.0], None),
        ("val/accuracy", [1.0, 1e-5], None),
        ("loss", [1.0, 1e-300], None),
        ("loss", [np.nan], None),
    ],
)
def test_values_over_three_orders_of_magnitude_get_a_log_scale(metric, values, floor):
    assert log_floor(metric, np.array(values)) == floor


def test_a_thinned_curve_keeps_its_extremes():
    values = np.random.default_rng(0).normal(size=100_000)
    values[5000], values[70_000] = 50, -50

    steps, thin = thinned(np.arange(100_000.0), values)

    assert len(thin) <= 4002
    assert (thin.max(), thin.min()) == (50, -50)
    assert (np.diff(steps) > 0).all()
    assert (steps[0], steps[-1]) == (0, 99_999)


def test_a_thinned_curve_keeps_its_gaps():
    values = np.ones(100_000)
    values[40_000:60_000] = np.nan

    steps, thin = thinned(np.arange(100_000.0), values)

    gap = steps[np.isnan(thin)]
    assert 40_000 <= gap.min() < 40_100
    assert 59_900 < gap.max() < 60_000
