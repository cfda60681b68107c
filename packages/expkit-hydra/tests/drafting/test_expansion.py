"""Params and command line become the runs that Hydra's basic sweeper would make, and more."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from expkit_hydra import GridError
from expkit_hydra._drafting.expansion import expand


def jobs(params=None, *arguments):
    return [list(job) for job in expand(params, arguments, None)]


def test_arguments_expand_as_in_hydras_basic_sweeper():
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    arguments = [
        "a=1,2",
        "+b=x,y",
        "c=range(1,4)",
        "d=sort(3,1,2,reverse=true)",
        "e=choice([1,2],[3])",
        "f='a,b'",
        "h@pkg=one,two",
        "i=0.1,1e-3,null,true",
        "j={k:1},{k:2}",
    ]
    overrides = OverridesParser.create().parse_overrides(arguments)

    assert jobs(None, *arguments) == BasicSweeper.split_arguments(overrides, None)[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2], ["k=1", "k=2"]),
        ([0.1, 1e-05], ["k=0.1", "k=1e-05"]),
        ([True, None], ["k=true", "k=null"]),
        (["a", "1", "a,b", "true", ""], ["k=a", "k='1'", "k='a,b'", "k='true'", "k=''"]),
        ([[1, 2], []], ["k=[1,2]", "k=[]"]),
        ([{"a": 1, "b": [None]}], ["k={a:1,b:[null]}"]),
        ([{"a b": 1, 2: "x"}], ["k={a b:1,2:x}"]),
        (["${seed}"], ["k='${seed}'"]),
        ("1,2,3", ["k=1", "k=2", "k=3"]),
        ("choice(a,b)", ["k=a", "k=b"]),
        ("choice([1,2])", ["k=[1,2]"]),
        ("range(3)", ["k=0", "k=1", "k=2"]),
        ("range(1,2,0.5)", ["k=1.0", "k=1.5"]),
        ("sort(3,1,2)", ["k=1", "k=2", "k=3"]),
        ("plain", ["k=plain"]),
        (5, ["k=5"]),
        (None, ["k=null"]),
        ([7], ["k=7"]),
    ],
)
def test_a_value_in_params_becomes_overrides(value, expected):
    assert [job[0] for job in jobs({"k": value})] == expected


def test_shuffle_keeps_all_values():
    assert sorted(job[0] for job in jobs({"k": "shuffle(1,2,3)"})) == ["k=1", "k=2", "k=3"]


def test_fixed_values_are_set_but_not_swept():
    expansion = expand({"epochs": 5, "name": "x", "seed": [1]}, ["lr=0.1", "width=1,2"], None)

    assert expansion.keys == ["seed", "width"]
    assert [*expansion] == [
        ("epochs=5", "name=x", "seed=1", "lr=0.1", f"width={w}") for w in (1, 2)
    ]


def test_the_command_line_wins_over_params_in_their_place():
    expansion = expand({"model": ["mlp", "cnn"], "+x": [1, 2]}, ["x=7,8", "model=cnn"], None)

    assert [*expansion] == [("model=cnn", "x=7"), ("model=cnn", "x=8")]
    assert expansion.keys == ["model", "x"]


def test_of_one_key_given_twice_the_last_value_counts_as_for_hydra():
    assert jobs(None, "lr=1", "seed=1,2", "lr=2") == [["lr=2", "seed=1"], ["lr=2", "seed=2"]]


def test_blocks_are_united_in_their_order():
    expansion = expand(
        [{"optimizer": ["sgd"], "lr": [0.1, 0.01]}, {"optimizer": ["adam"], "beta": [0.9]}],
        [],
        None,
    )

    assert expansion.sizes == [2, 1]
    assert expansion.keys == ["optimizer", "lr", "beta"]
    assert [*expansion][-1] == ("optimizer=adam", "beta=0.9")


def test_nothing_swept_is_one_run():
    assert jobs(None) == jobs({}) == jobs([]) == [[]]


@pytest.mark.parametrize(
    ("params", "arguments", "message"),
    [
        ("model", [], r"a mapping of keys to values.*got 'model'"),
        ([["model"]], [], r"list of such mappings; got \['model'\]"),
        (
            {"optimizer": {"lr": [1]}},
            [],
            r"is a mapping. Write its keys with dots, e.g. optimizer.lr",
        ),
        ({"seed": []}, [], r"params.seed is an empty list"),
        ({"k": [object()]}, [], r"params.k: A object cannot be swept"),
        ({"k": [{"größe": 1}]}, [], r"params.k: a mapping with the key 'größe' cannot be written"),
        ({"k": [{"1": 1}]}, [], r"params.k: a mapping with the key '1' cannot be written"),
        ({"lr": "interval(0,1)"}, [], r"lr=interval\(0,1\): an interval has no finite number"),
        (None, ["lr=interval(0,1)"], r"an interval has no finite number of values. Sweep lr=range"),
        (None, ["seed=range(3,1)"], r"seed=range\(3,1\) has no values to sweep"),
        ({"lr": [1], "+lr": [2]}, [], r"params has lr twice, once as \+lr"),
        ({"lr": ["range(1,4)"]}, [], r"params.lr has range\(1,4\) in a list.*lr: \"range\(1,4\)\""),
        (None, ["+a={x:1},{x:2}", "+a={y:1},{y:2}"], r"a is given twice.*\{x:2\} and \+a=\{y:1"),
        (None, ["+a={x:1}", "+a={y:1}"], r"a is given twice on the command line"),
        (None, ["lr=1,2", "lr=3"], r"lr is given twice on the command line: lr=1,2 and lr=3"),
    ],
)
def test_what_cannot_be_swept_is_refused(params, arguments, message):
    with pytest.raises(GridError, match=message):
        expand(params, arguments, None)


def test_a_mistake_in_the_syntax_is_hydras_own_error():
    from hydra.errors import OverrideParseException

    with pytest.raises(OverrideParseException, match="choice"):
        expand({"k": "choice(1,2"}, [], None)
