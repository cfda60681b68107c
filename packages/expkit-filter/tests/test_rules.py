import sys

import pytest

from expkit_filter import Candidate, FilterError, RunFilter

CONFIG = {
    "model": {"name": "cnn", "layers": [8, 8]},
    "optimizer": {"name": "adam", "lr": 0.1},
    "seed": 1,
}


@pytest.fixture
def my_rules(tmp_path, monkeypatch):
    (tmp_path / "my_rules.py").write_text(
        """
made = []

class TooSmall:
    def __init__(self, limit, *, key="seed"):
        self.limit, self.key = limit, key
        made.append(self)

    def skip(self, config, run):
        return f"{run.run_name}: {self.key} {config[self.key]} is too small" \\
            if config[self.key] < self.limit else False

class Broken:
    def skip(self, config, run):
        return config["nothing"]

class Unclear:
    def skip(self, config, run):
        return 0.5

class Silent:
    def skip(self, config, run):
        return None

class Nameless:
    def filter(self, config, directory):
        return True

class Outer:
    class Inner:
        def skip(self, config, run):
            return True

def function(config, run):
    return True
"""
    )
    (tmp_path / "broken_rules.py").write_text("import does_not_exist_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield sys.modules
    sys.modules.pop("my_rules", None)


@pytest.mark.parametrize(
    ("rule", "skips"),
    [
        ("model.name == 'cnn'", True),
        ({"expr": "model.name == 'cnn'"}, True),
        ({"expr": "model.name == 'mlp'", "reason": "too slow"}, False),
        ({"model.name": "cnn"}, True),
        ({"model.name": "cnn", "seed": 1}, True),
        ({"model.name": "cnn", "seed": 2}, False),
        ({"model": {"name": "cnn"}, "seed": 1}, True),
        ({"optimizer.lr": 1e-1}, True),
        ({"model.name": ["mlp", "cnn"]}, True),
        ({"model.name": ["mlp", "rnn"]}, False),
        ({"model.layers": [8, 8]}, True),
        ({"model.layers": [8]}, False),
        ({"model.layers[0]": 8}, True),
    ],
)
def test_a_rule_that_holds_skips_the_run(rule, skips):
    decision = RunFilter([rule]).decide(CONFIG)

    assert decision.skip is skips
    assert decision.kind == ("rule" if skips else "run")
    assert decision.rule == (1 if skips else None)


def test_the_first_rule_that_holds_decides():
    run_filter = RunFilter(["seed == 2", "seed == 1", "model.name == 'cnn'"])

    decision = run_filter.decide(CONFIG)

    assert (decision.rule, decision.reason) == (2, "rule 2: seed == 1")


def test_a_reason_replaces_the_expression():
    decision = RunFilter([{"expr": "seed == 1", "reason": "seed 1 was a typo"}]).decide(CONFIG)

    assert decision.reason == "rule 1: seed 1 was a typo"


def test_exists_looks_into_the_folder_of_the_run(tmp_path):
    run_filter = RunFilter([{"exists": "results/metrics.csv"}])
    done, fresh = tmp_path / "done", tmp_path / "fresh"
    (done / "results").mkdir(parents=True)
    (done / "results" / "metrics.csv").touch()

    assert run_filter.decide(CONFIG, folder=done).kind == "completed"
    assert not run_filter.decide(CONFIG, folder=fresh).skip
    assert run_filter.explain() == [
        {"rule": "exists: results/metrics.csv", "hits": 1, "example": "done"}
    ]


def test_completed_skips_what_is_done_even_with_rerun_all(experiment):
    experiment.add("a", "completed")
    rules = [{"completed": True}]

    decision = RunFilter(rules, runs=experiment.runs(), rerun="all").decide(
        CONFIG, run_name="a", config_hash="hash"
    )

    assert (decision.skip, decision.kind, decision.rule) == (True, "completed", 1)
    assert decision.record.run_name == "a"


def test_completed_false_leaves_only_what_is_done(experiment):
    experiment.add("a", "completed")
    run_filter = RunFilter([{"completed": False}], runs=experiment.runs(), rerun="all")

    assert run_filter.decide(CONFIG, run_name="b", config_hash="other").kind == "rule"
    assert not run_filter.decide(CONFIG, run_name="a", config_hash="hash").skip


def test_a_class_gets_its_arguments_once_and_then_each_run(my_rules):
    run_filter = RunFilter([{"my_rules.TooSmall": {"limit": 3}}])

    small = run_filter.decide({"seed": 2}, run_name="cnn_2")
    large = run_filter.decide({"seed": 3}, run_name="cnn_3")

    assert small.reason == "rule 1: cnn_2: seed 2 is too small"
    assert not large.skip
    assert len(my_rules["my_rules"].made) == 1
    assert run_filter.explain() == [
        {"rule": "my_rules.TooSmall(limit=3)", "hits": 1, "example": "cnn_2"}
    ]


def test_a_class_without_arguments_and_a_nested_class_are_rules_too(my_rules):
    run_filter = RunFilter([{"my_rules.Silent": None}, {"my_rules.Outer.Inner": {}}])

    assert run_filter.decide(CONFIG).rule == 2


def test_a_class_sees_name_and_folder_of_the_run(my_rules, tmp_path):
    seen = []

    class Watch:
        def skip(self, config, run):
            seen.append(run)
            return False

    sys.modules["my_rules"] = type(sys)("my_rules")
    sys.modules["my_rules"].Watch = Watch
    RunFilter([{"my_rules.Watch": None}]).decide(
        CONFIG, run_name="a", folder=tmp_path, config_hash="h"
    )

    assert seen == [Candidate(CONFIG, "a", tmp_path, "h")]


@pytest.mark.parametrize("value", [0, False, "", []])
def test_a_key_with_a_capital_takes_empty_values_too(value):
    run_filter = RunFilter([{"model.Dropout": value}])

    assert run_filter.decide({"model": {"Dropout": value}}).skip
    assert not run_filter.decide({"model": {"Dropout": 3}}).skip


def test_a_rule_gives_the_same_answer_for_the_values_that_it_reads_as_for_the_whole():
    rules = ["model.name == 'cnn' and model.layers[0] == 8", {"optimizer.lr": [0.1, 0.2]}]
    values = {"model.name": "cnn", "model.layers": [8, 8], "optimizer.lr": 0.1}

    for rule in RunFilter(rules).rules:
        assert not rule.needs_run
        assert rule.holds(Candidate(values, "cnn_0.1"), None) is True
        assert rule.holds(Candidate(CONFIG, "cnn_0.1"), None) is True


def test_rules_say_what_they_read_and_what_they_need(my_rules):
    by_keys, by_folder, by_class = RunFilter(
        ["seed > 1", {"exists": "a"}, {"my_rules.Silent": None}]
    ).rules

    assert (by_keys.names, by_keys.needs_run, by_keys.about_state) == ({"seed"}, False, False)
    assert (by_folder.names, by_folder.needs_run, by_folder.about_state) == (set(), True, True)
    assert (by_class.names, by_class.needs_run, by_class.about_state) == (set(), True, False)


def test_the_list_of_rules_stays_as_it_was():
    rules = [{"model": {"name": ["mlp"]}}, "seed == 1"]

    RunFilter(rules).decide(CONFIG)

    assert rules == [{"model": {"name": ["mlp"]}}, "seed == 1"]


def test_hydras_own_lists_and_mappings_are_read():
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"_filters": [{"model.name": ["cnn"]}, "seed == 1"]})

    assert RunFilter(config._filters).decide(CONFIG).rule == 1


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("seed == 1", "_filters is a list of rules, got 'seed == 1'"),
        ({"seed": 1}, "_filters is a list of rules"),
        ([3], r"rule 1: 3 is not a rule. A rule is an expression .* a mapping"),
        (["seed == 1", None], "rule 2: None is not a rule"),
        ([{}], r"rule 1: \{\} is not a rule"),
        ([""], "rule 1: An expression is empty"),
        (["seed = 1"], r"Cannot read 'seed = 1' at column 6: '=' compares nothing, write =="),
        (["seed >"], r"'seed >': something is missing after '>'\. A rule is e\.g\. model"),
        (["seed == 1 adn a"], r"at column 11, at 'adn': invalid syntax\. A rule is"),
        (["seed == 'a"], r"at column 9, at \"'a\": unterminated string literal\. A rule"),
        (["seed == 1 && flag"], "instead of '&&' write and"),
        (["${seed} == 1"], r"instead of '\$\{' write the name alone"),
        (["(seed == 1) & (a == 2)"], r"'&' \(write: and\) is not allowed"),
        (["sedd(seed) == 1"], r"No function sedd\(\).* Functions: len, abs"),
        (["startwith(model.name, 'c')"], r"No function startwith\(\).* mean startswith\(\)"),
        (["model.name.lower() == 'c'"], r"model\.name\.lower\(\) cannot be called.*startswith"),
        (["len() == 1"], r"len\(\) got 0 arguments"),
        (["defined(1)"], r"defined\(\) takes one name, such as defined\(optimizer\.momentum\)"),
        (["model.name is 'cnn'"], "'is' is for None, True and False; write =="),
        ([{"expr": 3}], "expr and reason are texts"),
        ([{"expr": "seed == 1", "seed": 1}], "expr: cannot be combined with 'seed'"),
        ([{"exists": "../other"}], "is outside the run's folder"),
        ([{"exists": "/etc/passwd"}], "is outside the run's folder"),
        ([{"exists": True}], "exists: takes a path inside the run's folder, got True"),
        ([{"exists": "a", "model.name": "cnn"}], "exists: cannot be combined with 'model.name'"),
        ([{"completed": "yes"}], "completed: is true or false, got 'yes'"),
        ([{"model.name": "${other}"}], r"'\$\{other\}' contains an interpolation.*an expression"),
        ([{"_target_": "my_rules.Silent", "a": 1}], r"not a rule of expkit-filter \('_target_'\)"),
        ([{"type": "expr", "expr": "a == 1"}], "expr: cannot be combined with 'type'"),
        ([{"my_rulez.TooSmall": {}}], "no module 'my_rulez' for the class my_rulez.TooSmall"),
        ([{"my_rules.TooSmal": {}}], "my_rules has no class 'TooSmal'. Did you mean 'TooSmall'?"),
        ([{"my_rules.TooSmall": {"limt": 3}}], r"argument 'limt'.*\. It takes \(limit"),
        ([{"my_rules.Nameless": None}], r"no method skip\(config, run\).*rename its filter\(\)"),
        ([{"broken_rules.Rule": None}], "broken_rules cannot be imported: No module .*does_not"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_read_says_what_is_allowed(rules, message, my_rules):
    with pytest.raises(FilterError, match=message):
        RunFilter(rules)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("optimizer.name > 1", r"rule 1 .*: run 'cnn_1': .*'>' not supported .*name='adam'"),
        ("model.name", "gives 'cnn', neither true nor false. Compare it with something"),
        ("1 / (seed - 1) > 1", "division by zero"),
        ("seed.startswith('c')", "startswith needs a text, got 1"),
        ("model.kernel > 3", r"reads 'model.kernel', which run 'cnn_1' does not have.*defined\("),
        ("optimiser.lr > 3", "Did you mean 'optimizer.lr'?"),
        ({"exists": "metrics.csv"}, "but the run has no folder"),
        ({"my_rules.Broken": None}, r"run 'cnn_1': raised KeyError: 'nothing'"),
        ({"my_rules.Unclear": None}, r"returned 0.5; skip\(\) returns True, False or the reason"),
    ],
)
def test_a_rule_that_cannot_be_applied_names_rule_and_run(rule, message, my_rules):
    with pytest.raises(FilterError, match=message):
        RunFilter([rule]).decide(CONFIG, run_name="cnn_1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rerun": "mising"},
            "rerun is one of missing, failed, changed, all, got 'mising'. Did",
        ),
        ({"rerun": None}, "rerun is one of missing"),
        ({"attempts": 0}, "attempts is a whole number from 1, got 0"),
        ({"attempts": True}, "attempts is a whole number from 1, got True"),
        ({"on_change": "delete"}, "on_change is one of keep, continue, rerun, got 'delete'"),
    ],
)
def test_an_option_that_does_not_exist_is_refused(options, message):
    with pytest.raises(FilterError, match=message):
        RunFilter(**options)
