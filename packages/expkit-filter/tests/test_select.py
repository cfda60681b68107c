import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_filter import Candidate, Expression, FilterError, RunFilter


def grid(path=None):
    """The README's grid: only sgd has a momentum."""
    candidates = []
    for model, optimizer, lr in itertools.product(["mlp", "cnn"], ["sgd", "adam"], [0.1, 0.001]):
        node = {"name": optimizer, "lr": lr} | ({"momentum": 0.9} if optimizer == "sgd" else {})
        config = {"model": {"name": model}, "optimizer": node, "seed": 1}
        name = f"{model}_{optimizer}_{lr}"
        folder = path / "training" / name if path else None
        candidates.append(Candidate(config, name, folder, f"hash of {name}"))
    return candidates


def test_a_grid_is_decided_with_a_table_of_rules():
    rules = ["model.name == 'mlp' and optimizer.lr > 0.01", {"optimizer.name": "adam"}]

    selection = RunFilter(rules).select(grid())

    assert selection.to_run == (1, 4, 5)
    assert selection.rules == (
        {
            "rule": "model.name == 'mlp' and optimizer.lr > 0.01",
            "hits": 2,
            "example": "mlp_sgd_0.1",
        },
        {"rule": "optimizer.name: adam", "hits": 3, "example": "mlp_adam_0.001"},
    )
    assert selection.warnings == ()
    assert (
        selection.summary() == "8 in the grid, 2 skipped by rule 1, 3 skipped by rule 2, 3 to run"
    )


def test_explain_counts_the_last_grid_only():
    run_filter = RunFilter(["model.name == 'mlp'"])

    run_filter.select(grid())
    run_filter.select(grid())

    assert run_filter.explain() == [
        {"rule": "model.name == 'mlp'", "hits": 4, "example": "mlp_sgd_0.1"}
    ]


def test_a_name_that_no_configuration_has_is_an_error_before_any_decision():
    with pytest.raises(FilterError, match=r"reads 'modle\.name', which no .* mean 'model\.name'\?"):
        RunFilter(["seed == 1 or modle.name == 'cnn'"]).select(grid())


def test_a_name_that_no_configuration_has_is_an_error_in_a_mapping_too():
    with pytest.raises(FilterError, match=r"'optimizer\.rl', which no configuration of this grid"):
        RunFilter([{"optimizer.rl": 0.1}]).select(grid())


def test_a_name_far_from_all_others_lists_those_that_exist():
    with pytest.raises(
        FilterError, match=r"Names: model\.name, optimizer\.lr, optimizer\.momentum"
    ):
        RunFilter(["zzz == 1"]).select(grid())


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("repeats == 1", "has. Did you mean 'data.repeat'? If only other grids have it"),
        ("expkit.repeats == 1", "has. Did you mean 'expkit.repeat'? If only other grids have it"),
        ("zzz == 1", "has. Names: data.repeat. If only other grids have it"),
        ("data.repeat == 1 and optimizer.lr > 1", "ask first: defined(optimizer.lr) and …"),
    ],
)
def test_a_name_that_no_configuration_has_leads_to_the_users_own_keys(rule, text):
    kit = {"expkit": {"repeat": ["seed"], "attempts": 3}, "mlflow": {"mode": "auto"}}
    config = {"results_dir": "results", "run_name": "a", **kit, "data": {"repeat": 1}}

    with pytest.raises(FilterError) as refused:
        RunFilter([rule]).select([Candidate(config, "a")])

    assert text in str(refused.value)
    again = str(refused.value).partition("ask first: ")[2].replace("…", f"({rule})")
    selection = RunFilter([again]).select([Candidate(config, "a")])
    assert len(selection.to_run) == 1


def test_a_name_that_some_lack_needs_defined_and_the_first_such_run_is_named():
    with pytest.raises(FilterError) as caught:
        RunFilter(["optimizer.momentum > 0.5"]).select(grid())

    text = str(caught.value)
    assert "'optimizer.momentum', which run 'mlp_adam_0.1' does not have" in text
    assert "4 of 8 runs lack it" in text
    assert "defined(optimizer.momentum) and" in text


def test_defined_asks_first():
    selection = RunFilter(["defined(optimizer.momentum) and optimizer.momentum > 0.5"]).select(
        grid()
    )

    assert len(selection.to_run) == 4


def test_a_mapping_does_not_match_where_its_key_is_missing():
    selection = RunFilter([{"optimizer.momentum": 0.9}]).select(grid())

    assert len(selection.to_run) == 4


def test_a_name_asked_about_may_be_absent_from_a_narrowed_grid():
    adam = [run for run in grid() if run.config["optimizer"]["name"] == "adam"]

    selection = RunFilter(["defined(optimizer.momentum) and optimizer.momentum > 0.5"]).select(adam)

    assert len(selection.to_run) == 4
    assert "never fires" in selection.warnings[0]
    assert "No run has 'optimizer.momentum'" in selection.warnings[0]


def test_a_typo_inside_defined_is_shown():
    selection = RunFilter(["defined(optimizer.momentun)"]).select(grid())

    assert "Did you mean 'optimizer.momentum'?" in selection.warnings[0]


def test_a_rule_that_never_fires_warns():
    selection = RunFilter(["optimizer.lr > 1", "seed == 1 and model.name == 'mlp'"]).select(grid())

    assert selection.warnings == ("rule 1 (optimizer.lr > 1) never fires in this grid.",)
    (unused,) = selection.unused
    assert (unused.number, unused.names) == (1, {"optimizer.lr"})
    assert unused.warning in selection.warnings


def test_a_group_compared_with_its_choice_gets_a_hint():
    selection = RunFilter(["model == 'mlp'"]).select(grid())

    assert (
        "'model' is not one value but a mapping: did you mean 'model.name'?"
        in (selection.warnings[0])
    )


def test_a_rule_that_is_covered_by_another_says_so():
    rules = ["model.name == 'mlp'", "model.name == 'mlp' and optimizer.lr > 0.01"]

    selection = RunFilter(rules).select(grid())

    assert "All runs for which it holds are already skipped by rule 1." in selection.warnings[0]


def test_where_no_rule_fires_the_grid_is_not_composed_again_for_the_warning():
    again = iter(grid())
    selecting = RunFilter(["optimizer.lr > 1"]).selecting(lambda: again)
    for run in grid():
        selecting.add(run)

    selection = selecting.finish()

    assert "never fires" in selection.warnings[0]
    assert len(list(again)) == 7, "one run, as an example"


def test_rules_about_what_is_done_need_not_fire(tmp_path):
    selection = RunFilter([{"completed": True}, {"exists": "metrics.csv"}]).select(grid(tmp_path))

    assert selection.warnings == ()


def test_a_grid_with_all_runs_skipped_by_rule_is_an_error_with_counts_by_rule():
    rules = ["model.name == 'mlp'", "optimizer.lr >= 0.001"]

    with pytest.raises(FilterError) as caught:
        RunFilter(rules).select(grid())

    assert str(caught.value).startswith(
        "0 of 8 runs are left: rule 1 (model.name == 'mlp') skipped 4; "
        "rule 2 (optimizer.lr >= 0.001) skipped 4."
    )


def test_a_grid_that_is_done_is_not_an_error(experiment):
    for run in grid():
        experiment.add(run.run_name, "completed", run.config_hash)

    by_state = RunFilter(runs=experiment.runs()).select(grid(experiment.path))
    by_rule = RunFilter([{"completed": True}], runs=experiment.runs()).select(grid(experiment.path))

    assert by_state.to_run == by_rule.to_run == ()
    assert by_state.summary() == by_rule.summary() == "8 in the grid, 8 completed, 0 to run"


def test_the_runs_that_rules_leave_may_be_done(experiment):
    for run in grid()[4:]:
        experiment.add(run.run_name, "completed", run.config_hash)

    selection = RunFilter(["model.name == 'mlp'"], runs=experiment.runs()).select(grid())

    assert selection.summary() == "8 in the grid, 4 skipped by rule 1, 4 completed, 0 to run"


def test_an_empty_grid_is_not_an_error():
    assert RunFilter(["seed == 1"]).select([]).summary() == "0 in the grid, 0 to run"


def test_completed_runs_are_told_apart_by_code(experiment, tmp_path, monkeypatch):
    source = tmp_path / "models.py"
    source.write_text("new")
    monkeypatch.chdir(tmp_path)
    sha256_of_new = "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"
    for number, run in enumerate(grid()):
        digest = sha256_of_new if number < 5 else "0" * 64
        code = {"sources": {"models.py": digest}}
        experiment.add(run.run_name, "completed", run.config_hash, code=code)
    calls = []

    def code_changes(record):
        from expkit_bookkeeping.launching import code_changes

        calls.append(record)
        return code_changes(record, tmp_path)

    selection = RunFilter(runs=experiment.runs(), code_changes=code_changes).select(grid())

    assert selection.completed == (
        "8 completed, skipped: 5 with this code, 3 with older code (models.py changed)"
    )
    assert len(calls) == 2, "files are hashed once for runs with the same sources"


def test_folders_with_other_configurations_stop_the_grid_with_counts_by_key(experiment):
    for run in grid()[:3]:
        experiment.add(
            run.run_name, "completed", "other", config_yaml="model: {name: mlp}\nseed: 1\n"
        )

    with pytest.raises(FilterError) as caught:
        RunFilter(runs=experiment.runs()).select(grid(experiment.path))

    text = str(caught.value)
    assert text.startswith("3 runs of this grid have a folder with another configuration")
    assert "+ optimizer.name=sgd (2 runs)" in text
    assert "+ optimizer.lr=0.1 (2 runs)" in text
    assert "expkit.on_change=keep" in text
    assert "continue" in text
    assert "rerun" in text


def test_one_folder_with_another_configuration_is_reported_in_the_singular(experiment):
    run = grid()[0]
    folder = experiment.add(run.run_name, "completed", "other", config_yaml="seed: 2\n")

    with pytest.raises(FilterError) as caught:
        RunFilter(runs=experiment.runs()).select(grid(experiment.path))

    first = f"1 run of this grid has a folder with another configuration, {folder}:"
    assert str(caught.value).splitlines()[0] == first


def test_on_change_lets_the_grid_continue(experiment):
    run = grid()[0]
    experiment.add(run.run_name, "completed", "other", config_yaml="seed: 2\n")

    kept = RunFilter(runs=experiment.runs(), on_change="keep").select(grid())
    rerun = RunFilter(runs=experiment.runs(), on_change="rerun").select(grid())

    assert (len(kept.to_run), len(rerun.to_run)) == (7, 8)
    assert "1 kept with another configuration" in kept.summary()
    assert [decision.to_trash for decision in rerun.decisions] == [True] + [False] * 7


def test_a_damaged_run_is_a_warning_and_the_others_run(experiment):
    folder = experiment.add(grid()[0].run_name, "completed")
    (folder / "run.json").write_text("{")

    selection = RunFilter(runs=experiment.runs()).select(grid())

    assert len(selection.to_run) == 7
    assert "mlp_sgd_0.1 is skipped: its state is unknown (" in selection.warnings[0]


def test_ten_thousand_runs_are_decided_in_well_under_a_second():
    import time

    base = grid()
    candidates = [
        Candidate(base[i % 8].config | {"seed": i}, f"run_{i}", None, f"hash {i}")
        for i in range(10_000)
    ]
    rules = ["model.name == 'mlp' and optimizer.lr > 0.01", {"optimizer.name": "rms"}, "seed < 0"]
    begin = time.process_time()

    RunFilter(rules).select(candidates)

    assert time.process_time() - begin < 1  # 0.15 s here


conditions = st.sampled_from(
    ["a == 1", "a > b", "b in [0, 2]", "a + b == 3", "not (a == b)", "a % 2 == 0 and b > 0"]
)


@given(
    st.lists(conditions, max_size=3),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=8),
)
def test_exactly_those_runs_are_left_for_which_no_rule_holds(rules, values):
    candidates = [Candidate({"a": a, "b": b}, f"{a}_{b}") for a, b in values]
    expressions = [Expression(rule) for rule in rules]
    left = [i for i, run in enumerate(candidates) if not any(e(run.config) for e in expressions)]

    if left:
        selection = RunFilter(rules).select(candidates)

        assert list(selection.to_run) == left
        assert sum(row["hits"] for row in selection.rules) == len(values) - len(left)
    else:
        with pytest.raises(FilterError, match=f"0 of {len(values)} runs are left"):
            RunFilter(rules).select(candidates)
