from dataclasses import dataclass
from enum import Enum
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_registry import BaseRegistry, RegistryError


class Optimizer:
    def __init__(self, params, lr: float = 0.1, betas=(0.9, 0.99), *, name_of: str = ""):
        self.params, self.lr, self.betas = params, lr, betas


class Optimizers(BaseRegistry[Optimizer]):
    pass


class Things(BaseRegistry[object]):
    pass


Optimizers.register("adam", Optimizer)
Things.register("kwargs", dict)


@Things.register("keep")
def keep(**kwargs):
    return kwargs


def test_a_name_alone_builds_with_defaults():
    assert Optimizers.build("adam", params=[]).lr == 0.1


def test_configured_and_runtime_arguments_are_combined():
    params = [1, 2]

    built = Optimizers.build({"name": "adam", "lr": 0.5}, params=params)

    assert built.lr == 0.5
    assert built.params is params


def test_the_configuration_is_left_unchanged():
    cfg = {"name": "keep", "layers": [1, {"a": 2}]}

    Things.build(cfg)["layers"][1]["a"] = 3

    assert cfg == {"name": "keep", "layers": [1, {"a": 2}]}


def test_a_list_becomes_a_tuple_where_the_default_is_one():
    assert Optimizers.build({"name": "adam", "betas": [0.5, 0.6]}, params=[]).betas == (0.5, 0.6)


def test_an_array_is_an_argument_like_any_other():
    numpy = pytest.importorskip("numpy")
    weights = numpy.ones(3)

    assert Things.build({"name": "keep", "weights": weights})["weights"] is weights
    assert Things.build(name="keep", weights=weights)["weights"] is weights


def test_any_mapping_is_a_configuration():
    from types import MappingProxyType

    assert Things.build(MappingProxyType({"name": "keep", "a": 1})) == {"a": 1}


def test_an_entry_without_a_signature_gets_all_that_is_configured():
    assert Things.build({"name": "kwargs", "a": 1}) == {"a": 1}


def test_what_an_entry_returns_is_checked():
    Optimizers.register("broken", lambda: 3)

    with pytest.raises(RegistryError, match=r"'broken' \(.*\) returned int; Optimizers holds Opt"):
        Optimizers.build("broken")


def test_a_registry_of_floats_may_hold_what_returns_an_int():
    class Losses(BaseRegistry[float]):
        pass

    Losses.register("zero", lambda: 0)

    assert Losses.build("zero") == 0


def test_a_typed_dictionary_is_not_checked_at_run_time():
    from typing import TypedDict

    class Batch(TypedDict):
        size: int

    class Batches(BaseRegistry[Batch]):
        pass

    Batches.register("small", lambda: {"size": 1})

    assert Batches.build("small") == {"size": 1}


def test_a_protocol_is_not_checked_at_run_time():
    from typing import Protocol

    class Model(Protocol):
        def forward(self) -> int: ...

    class Models(BaseRegistry[Model]):
        pass

    Models.register("dict", dict)

    assert Models.build("dict") == {}


def test_an_exception_from_inside_an_entry_is_not_wrapped():
    def fail():
        raise ZeroDivisionError

    Things.register("fail", fail)

    with pytest.raises(ZeroDivisionError):
        Things.build("fail")


def test_check_calls_nothing():
    calls = []

    def net(width: int = 3):
        calls.append(width)

    Things.register("net", net)

    Things.check({"name": "net", "width": 4})
    Things.check("net")
    with pytest.raises(RegistryError, match="no parameter 'widht'"):
        Things.check({"name": "net", "widht": 4})

    assert calls == []


def test_check_reports_missing_arguments_if_it_knows_the_runtime_ones():
    Optimizers.check({"name": "adam"})
    Optimizers.check({"name": "adam"}, runtime=["params"])

    with pytest.raises(RegistryError, match="needs 'params'"):
        Optimizers.check({"name": "adam"}, runtime=[])
    with pytest.raises(RegistryError, match=r"lr is 0\.1 in the configuration and given"):
        Optimizers.check({"name": "adam", "lr": 0.1}, runtime=["params", "lr"])


def test_a_single_runtime_argument_needs_no_list():
    Optimizers.check("adam", runtime="params")


def test_check_reports_all_problems_at_once():
    with pytest.raises(RegistryError) as refused:
        Optimizers.check({"name": "adam", "lrr": 1, "lr": "1e-3"}, runtime=[])

    text = str(refused.value)
    assert "no parameter 'lrr'. Did you mean 'lr'?" in text
    assert "lr is the string '1e-3', but Optimizer " in text
    assert "needs 'params'" in text


class Colour(Enum):
    RED = 1


def annotated(
    number: float = 1.0,
    union: "float | None" = None,
    string_or_number: int | str = 1,
    anything: object = 3,
    unannotated=2,
    flag=True,
    colour: Colour | float = 1.0,
    unknown: "NotThere" = 1.0,  # noqa: F821
): ...


@pytest.mark.parametrize(
    ("key", "value", "is_refused"),
    [
        ("number", "1e-3", True),
        ("number", "fast", True),
        ("number", 1, False),
        ("union", "3", True),
        ("string_or_number", "3", False),
        ("anything", "3", False),
        ("unannotated", "3", True),
        ("unannotated", "auto", False),
        ("flag", "3", False),
        ("colour", "RED", False),
        ("unknown", "3", False),
    ],
)
def test_a_string_in_place_of_a_number_is_refused(key, value, is_refused):
    class Entries(BaseRegistry[object]):
        pass

    # One annotation that cannot be evaluated leaves all of a function as strings, so it has a
    # function of its own.
    def late(unknown: "NotThere" = 1.0): ...  # noqa: F821

    evaluated = partial(annotated)
    evaluated.__signature__ = _signature_without_unknown()
    Entries.register("f", late if key == "unknown" else evaluated)

    if is_refused:
        with pytest.raises(RegistryError, match=f"{key} is the string '{value}', but"):
            Entries.check({"name": "f", key: value})
    else:
        Entries.check({"name": "f", key: value})


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("rate", "1e-3", "as 0.001; YAML reads 1e-3 as a string and 1.0e-3 as a number."),
        ("rate", "1e30", "as 1.0e+30; YAML"),
        ("rate", "16", "as 16.0."),
        ("rate", "inf", "as .inf."),
        ("rate", "-Infinity", "as -.inf."),
        ("rate", "nan", "as .nan."),
        ("width", "16", "as 16."),
        ("width", "1e3", "as 1000; YAML"),
        ("bias", "yes", "expects bool. Write true or false, without quotes."),
    ],
)
def test_the_hint_writes_the_number_as_yaml_reads_it(key, value, hint):
    class Nets(BaseRegistry[object]):
        pass

    @Nets.register("net")
    def net(rate: float = 0.1, width: int = 1, bias: bool = True): ...

    with pytest.raises(RegistryError) as refused:
        Nets.check({"name": "net", key: value})

    assert str(refused.value).endswith(hint) or f"{hint} reads" in str(refused.value)


def _signature_without_unknown():
    from inspect import signature

    full = signature(annotated)
    parameters = [p for p in full.parameters.values() if p.name != "unknown"]
    return full.replace(
        parameters=[
            p.replace(annotation=float | None) if p.name == "union" else p for p in parameters
        ]
    )


@given(
    config=st.dictionaries(st.sampled_from("abcd"), st.integers()),
    runtime=st.dictionaries(st.sampled_from("abcd"), st.integers()),
)
def test_every_argument_is_passed_on_or_refused_and_none_is_replaced(config, runtime):
    cfg = {"name": "keep", **config}

    if config.keys() & runtime.keys():
        with pytest.raises(RegistryError, match="in the configuration and"):
            Things.build(cfg, **runtime)
    else:
        assert Things.build(cfg, **runtime) == config | runtime


@given(st.dictionaries(st.sampled_from(["params", "lr", "betas", "lrr", "x"]), st.floats()))
def test_check_accepts_exactly_what_build_accepts(config):
    cfg = {"name": "adam", **config}

    assert _refusal(lambda: Optimizers.check(cfg, runtime=[])) == _refusal(
        lambda: Optimizers.build(cfg)
    )


def _refusal(call):
    try:
        call()
    except RegistryError as error:
        return str(error)
    return None


@dataclass
class Config:
    name: str = "keep"


def test_an_object_that_is_not_a_mapping_is_refused():
    with pytest.raises(RegistryError, match=r"expected a name or a mapping .* got Config"):
        Things.build(Config())
