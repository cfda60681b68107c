"""Means over groups of runs: what is averaged, how far it spreads, and where runs do not belong."""

import itertools
import math
import random
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from expkit_bookkeeping import Bookkeeping, results


def add(experiment, swept, value, *, config=None, metric="acc"):
    """A completed run with one value of a metric."""
    name = "_".join(map(str, swept.values()))
    settings = {"expkit": {"metric": metric}, **swept, **(config or {})}
    folder = experiment / "training" / name
    with Bookkeeping(folder, config=settings, swept=swept, console=False) as run:
        if value is not None:
            run.log_metrics({metric: value}, step=0)
    return folder


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Two models with three seeds of four folds, but for one fold of one seed."""
    experiment = tmp_path_factory.mktemp("results") / "folds"
    chance = random.Random(0)
    for model, seed, fold in itertools.product("ab", (1, 2, 3), range(4)):
        if (model, seed, fold) != ("b", 2, 3):
            value = chance.random()
            add(
                experiment,
                {"model": model, "seed": seed, "fold": fold},
                value,
                config={"expkit": {"metric": "acc", "repeat": ["seed", "fold"]}},
            )
    return experiment


def values_of(experiment, model):
    frame = pd.DataFrame(results(experiment))
    return frame[frame["model"] == model]


def test_folds_are_averaged_before_seeds_if_the_configuration_repeats_both(folds):
    table = results(folds).table(metrics="acc")

    assert list(table.index) == ["a", "b"]
    for model in "ab":
        seeds = values_of(folds, model).groupby("seed")["acc"].mean()
        assert table.loc[model, ("acc", "mean")] == pytest.approx(seeds.mean())
        assert table.loc[model, ("acc", "std")] == pytest.approx(seeds.std())
        assert table.loc[model, ("acc", "n")] == 3
    assert list(table["runs", "count"]) == [12, 11]


def test_what_is_repeated_may_be_chosen(folds):
    frame = results(folds)

    by_fold = frame.table(metrics="acc", repeat="seed")
    assert list(by_fold["acc", "n"]) == [3, 3, 3, 3, 3, 3, 3, 2]
    assert by_fold.index.names == ["model", "fold"]
    one_seed = frame[frame["seed"] == 1].table(metrics="acc")
    assert list(one_seed["acc", "n"]) == [4, 4]
    with pytest.raises(KeyError, match=r"no column 'sed'.*Did you mean 'seed'"):
        frame.table(repeat="sed")


@pytest.mark.parametrize("spread", ["std", "sem", "ci95", "quartiles", "range"])
def test_spreads_are_those_of_pandas_and_scipy(tmp_path, spread):
    chance = random.Random(1)
    values = {key: [chance.gauss(0, 1) for _ in range(n)] for key, n in (("x", 7), ("y", 2))}
    for key, group in values.items():
        for seed, value in enumerate(group):
            add(tmp_path, {"key": key, "seed": seed}, value)

    table = results(tmp_path).table(metrics="acc", spread=spread)

    for key, group in values.items():
        row = table.loc[key, "acc"].drop("n").to_dict()
        series = pd.Series(group)
        low, high = stats.t.interval(0.95, len(group) - 1, series.mean(), stats.sem(group))
        expected = {
            "std": {"mean": series.mean(), "std": series.std()},
            "sem": {"mean": series.mean(), "sem": stats.sem(group)},
            "ci95": {"mean": (low + high) / 2, "ci95": (high - low) / 2},
            "quartiles": {
                "median": series.median(),
                "q25": series.quantile(0.25),
                "q75": series.quantile(0.75),
            },
            "range": {"mean": series.mean(), "min": series.min(), "max": series.max()},
        }[spread]
        assert row == pytest.approx(expected, rel=1e-9)


def test_brackets_show_quartiles_and_an_unknown_spread_is_refused(tmp_path):
    for seed, value in enumerate((0.0, 1.0, 2.0)):
        add(tmp_path, {"key": "x", "seed": seed}, value)
    frame = results(tmp_path)

    table = frame.table(metrics="acc", spread="quartiles")

    assert table.text(digits=1).loc["x", "acc"] == "1.0 [0.5, 1.5] (n = 3)"
    assert "median [25 %, 75 %]" in table.to_latex()
    with pytest.raises(ValueError, match="no spread 'variance'"):
        frame.table(spread="variance")


def test_n_counts_values_and_one_lucky_run_is_never_the_best(tmp_path):
    for seed, value in enumerate((0.5, 0.6, None)):
        add(tmp_path, {"key": "several", "seed": seed}, value)
    add(tmp_path, {"key": "lucky", "seed": 0}, 0.9)

    table = results(tmp_path).table(metrics="acc")
    latex = table.to_latex()

    assert list(table["acc", "n"]) == [1, 2]
    assert list(table["runs", "count"]) == [1, 3]
    (bold,) = (line for line in latex.splitlines() if "mathbf" in line)
    assert bold.startswith("several")
    assert bold.endswith("& 2 \\\\")


def test_runs_of_other_epochs_within_a_group_are_named(tmp_path):
    for seed, epochs in ((1, 4), (2, 4), (3, 8)):
        add(tmp_path, {"key": "x", "seed": seed}, 0.5, config={"epochs": epochs})
        add(tmp_path, {"key": "y", "seed": seed}, 0.5, config={"epochs": 4, "device": str(seed)})

    with pytest.warns(UserWarning, match=r"differ.*: epochs \(4, 8\), in x\.") as warned:
        results(tmp_path).table()

    assert len(warned) == 1


def test_repetitions_of_one_configuration_are_no_reason_to_warn(folds):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = results(folds).table()

    assert not table.empty


def test_groups_are_compared_seed_by_seed(tmp_path):
    chance = random.Random(2)
    first = {seed: chance.random() for seed in range(6)}
    second = {seed: chance.random() for seed in range(1, 8)}
    for key, group in (("x", first), ("y", second)):
        for seed, value in group.items():
            add(tmp_path, {"key": key, "seed": seed}, value)

    compared = results(tmp_path).paired("acc", {"key": "x"}, {"key": "y"})

    seeds = range(1, 6)
    differences = [first[seed] - second[seed] for seed in seeds]
    test = stats.ttest_rel([first[s] for s in seeds], [second[s] for s in seeds])
    interval = test.confidence_interval(0.95)
    assert (compared.n, compared.unpaired) == (5, (1, 2))
    assert compared.mean == pytest.approx(np.mean(differences))
    assert compared.std == pytest.approx(np.std(differences, ddof=1))
    assert (compared.low, compared.high) == pytest.approx((interval.low, interval.high))
    assert "n = 5" in str(compared)
    assert "without a partner: 1 and 2 runs" in str(compared)


def test_pairs_of_folds_are_averaged_over_each_seed_first(folds):
    compared = results(folds).paired("acc", {"model": "a"}, {"model": "b"})

    both = values_of(folds, "a").merge(values_of(folds, "b"), on=["seed", "fold"])
    by_seed = (both["acc_x"] - both["acc_y"]).groupby(both["seed"]).mean()
    assert compared.mean == pytest.approx(by_seed.mean())
    assert compared.n == 3


def test_a_pair_has_to_be_unambiguous(folds):
    frame = results(folds)

    with pytest.raises(ValueError, match=r"several runs for one repetition.*value for model, fold"):
        frame.paired("acc", {}, {"model": "a"}, repeat="seed")
    with pytest.raises(ValueError, match="no repetition in common"):
        frame.paired("acc", {"model": "a"}, {"model": "c"})
    with pytest.raises(KeyError, match="no column 'modl'"):
        frame.paired("acc", {"modl": "a"}, {"model": "b"})


def test_null_and_its_text_are_two_groups_and_so_are_one_and_true(tmp_path):
    for number, key in enumerate((None, "None", 1, True, 1.0)):
        add(tmp_path, {"key": key, "seed": number}, number / 10)

    table = results(tmp_path).table(metrics="acc")

    assert [len(table), *sorted(table["acc", "n"])] == [4, 1, 1, 1, 2]
    assert {"None", "'None'"} < set(table.index)
    assert math.isclose(table["acc", "mean"].max(), 0.3)


def test_a_part_of_a_frame_has_a_table_or_says_what_it_lacks(tmp_path):
    for seed in (1, 2):
        add(tmp_path, {"model": "cnn", "seed": seed}, seed / 10)
    frame = results(tmp_path)

    part = frame[["model", "seed", "state", "acc"]].table()

    assert part.loc["cnn", ("acc", "mean")] == pytest.approx(0.15)
    with pytest.raises(KeyError, match=r"no column of a metric. Keep one of acc, best_acc"):
        frame[["model", "seed", "state"]].table()
    with pytest.raises(KeyError, match=r"There is no column 'state'.* Keep it"):
        frame[["model", "seed", "acc"]].table()


def test_a_mean_over_prolonged_runs_and_others_is_warned_of(tmp_path):
    pytest.importorskip("torch")

    def train(seed, epochs):
        folder = tmp_path / "training" / f"x_{seed}"
        swept = {"model": "x", "seed": seed}
        config = {**swept, "epochs": epochs}
        with Bookkeeping(folder, config=config, swept=swept, console=False) as run:
            for epoch in range(run.resume(), epochs):
                run.log_metrics({"acc": seed}, step=epoch)
                run.save_checkpoint(epoch)

    train(1, 2)
    train(1, 4)
    train(2, 4)

    frame = results(tmp_path)
    with pytest.warns(UserWarning, match=r"continued \(epochs 2 → 4 at epoch 2, –\), in x\."):
        frame.table()
    assert list(frame["continued"].fillna("")) == ["epochs 2 → 4 at epoch 2", ""]
