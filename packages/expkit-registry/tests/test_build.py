from dataclasses import dataclass
from enum import Enum
from functools import partial, wraps
from typing import Annotated, Literal

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


class TestParameterCalledName:
    def test_it_is_an_argument_where_another_key_selects_the_entry(self):
        cfg = {"_name_": "named", "name": "layer1"}

        assert Things.build(cfg) == ("layer1", 1)
        assert Things.build(**cfg) == ("layer1", 1)
        assert Things.build({"_name_": "named"}, name="layer1") == ("layer1", 1)
        assert Things.build("named", name="layer1", width=2) == ("layer1", 2)
        Things.check({"_name_": "named"}, runtime=["name"])

    def test_it_is_never_taken_for_the_selector_or_replaced(self):
        with pytest.raises(RegistryError, match=r"'name' selects the entry .* by '_name_' instead"):
            Things.build({"name": "named"}, name="layer1")
        with pytest.raises(RegistryError, match=r"needs 'name', which here selects the entry"):
            Things.build({"name": "named"})
        with pytest.raises(RegistryError, match=r"name is 'a' in the configuration and 'b' in the"):
            Things.build({"_name_": "named", "name": "a"}, name="b")
        with pytest.raises(RegistryError, match=r"needs 'name': configure name, or pass name=…"):
            Things.build({"_name_": "named"})


@Things.register("named")
def named(name, width=1):
    return name, width


class TestKeywordsThatAreForwarded:
    @pytest.fixture
    def entries(self):
        class Entries(BaseRegistry[object]):
            pass

        return Entries

    @pytest.mark.parametrize(
        "entry",
        [
            "Child",
            "Grandchild",
            "calls_a_class",
            "calls_a_function",
            "calls_either",
            "calls_by_place",
            "bound",
        ],
    )
    def test_a_typo_is_found_where_the_code_only_passes_them_on(self, entries, entry):
        entries.register("entry", globals()[entry])

        entries.check({"name": "entry", "depth": 3, "lr": 0.1})
        with pytest.raises(RegistryError, match=r"no parameter 'detph'\. Did you mean 'depth'\?"):
            entries.check({"name": "entry", "detph": 3})
        with pytest.raises(RegistryError, match=r"depth is the string '3', but .* expects int"):
            entries.check({"name": "entry", "depth": "3"})
        with pytest.raises(RegistryError, match=r"width"):  # which the code itself gives
            entries.check({"name": "entry", "width": 3})

    @pytest.mark.parametrize(
        "entry", ["reads", "drops", "passes_as_a_dict", "calls_a_local", "wrapped", "Signed"]
    )
    def test_all_keys_pass_where_the_code_does_anything_else_with_them(self, entries, entry):
        entries.register("entry", globals()[entry])

        entries.check({"name": "entry", "detph": 3})

    def test_each_is_refused_or_accepted_as_the_call_itself_does(self, entries):
        entries.register("entry", Grandchild)

        for key in ("depth", "lr", "width", "self", "args", "kwargs", "x"):
            refusal = _refusal(lambda key=key: entries.check({"name": "entry", key: 1}))
            try:
                Grandchild(**{key: 1})
            except TypeError:
                assert refusal is not None
            else:
                assert refusal is None

    def test_an_optimizer_of_ones_own_takes_what_its_base_takes(self, entries, torch):
        class WarmSGD(torch.optim.SGD):
            def __init__(self, params, warmup=0, **kwargs):
                super().__init__(params, **kwargs)
                self.warmup = warmup

        entries.register("sgd", WarmSGD)
        parameters = [torch.nn.Parameter(torch.zeros(1))]

        assert entries.build({"name": "sgd", "lr": 0.5}, params=parameters).warmup == 0
        with pytest.raises(RegistryError, match=r"no parameter 'momentun'\. Did you mean 'moment"):
            entries.check({"name": "sgd", "momentun": 0.9})


class Base:
    def __init__(self, width: int, depth: int = 1, lr: float = 0.1):
        self.values = (width, depth, lr)


class Child(Base):
    def __init__(self, size=1, **kwargs):
        super().__init__(size, **kwargs)


class Unrelated:
    pass


class Grandchild(Unrelated, Child):
    def __init__(self, **options):
        super().__init__(**options)


def calls_a_class(**kwargs):
    return Base(width=1, **kwargs)


def calls_a_function(extra=1, **kwargs):
    return calls_a_class(**kwargs)


def calls_either(deep=False, **kwargs):
    return Base(1, **kwargs) if deep else calls_a_class(**kwargs)


def by_place(width, /, *args, depth: int = 1, lr=0.1): ...


def calls_by_place(**kwargs):
    return by_place(1, 2, **kwargs)


class Builder:
    @classmethod
    def build(cls, **kwargs):
        return Base(1, **kwargs)


bound = Builder.build


def reads(depth=1, **kwargs):
    return Base(kwargs.get("width", 1), **kwargs)


def drops(depth=1, **_): ...


def passes_as_a_dict(depth=1, **kwargs):
    return dict(kwargs)


def calls_a_local(depth=1, **kwargs):
    make = Base
    return make(1, **kwargs)


@wraps(calls_a_class)
def wrapped(**kwargs):
    return calls_a_class(**{**kwargs, "detph": 1})


class Signed(Base):
    def __new__(cls, **kwargs):
        return object.__new__(cls)

    def __init__(self, **kwargs):
        super().__init__(1, **kwargs)


class Mode(Enum):
    TRAIN = "train"
    EVAL = "eval"
    OFF = 0


class Swapped(Enum):
    A = "B"
    B = "A"


def choices(
    mode: Mode = Mode.TRAIN,
    reduction: Literal["sum", "mean"] = "mean",
    optional: Literal["sum"] | Mode | None = None,
    level: Literal[1, 2] = 1,
    text_or_mode: str | Mode = "",
    number_or_mode: float | Mode = 0.0,
    model_or_mode: Base | Mode = Mode.OFF,
    modes: list[Mode] = [],  # noqa: B006
    by_name: dict[str, Mode] = {},  # noqa: B006
    pair: tuple[Mode, int] = (Mode.OFF, 1),
    rates: tuple[float, ...] = (),
    swapped: Swapped = Swapped.A,
    plain=Mode.EVAL,
    annotated: Annotated[Mode, "how"] = Mode.OFF,
    late: Literal["a"] = "default",
):
    return dict(locals())


class TestChoices:
    @pytest.fixture
    def entries(self):
        class Entries(BaseRegistry[object]):
            pass

        Entries.register("choices", choices)
        return Entries

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("mode", "TRAIN", Mode.TRAIN),
            ("mode", "train", Mode.TRAIN),
            ("mode", "Mode.EVAL", Mode.EVAL),
            ("mode", 0, Mode.OFF),
            ("mode", Mode.EVAL, Mode.EVAL),
            ("reduction", "sum", "sum"),
            ("optional", "sum", "sum"),
            ("optional", "EVAL", Mode.EVAL),
            ("optional", None, None),
            ("level", 2, 2),
            ("text_or_mode", "TRAIN", "TRAIN"),
            ("number_or_mode", "TRAIN", Mode.TRAIN),
            ("number_or_mode", 0, 0),
            ("model_or_mode", "EVAL", Mode.EVAL),
            ("model_or_mode", 3, 3),  # whether it fits a class, only the entry knows
            ("modes", ["TRAIN", "eval"], [Mode.TRAIN, Mode.EVAL]),
            ("by_name", {"a": "eval"}, {"a": Mode.EVAL}),
            ("pair", ["eval", 2], (Mode.EVAL, 2)),
            ("rates", [1, 2.5], (1, 2.5)),
            ("swapped", "Swapped.A", Swapped.A),
            ("plain", "TRAIN", Mode.TRAIN),
            ("annotated", "TRAIN", Mode.TRAIN),
            ("late", "default", "default"),  # a default is allowed, whatever the annotation says
        ],
    )
    def test_the_name_or_the_value_of_a_member_becomes_that_member(
        self, entries, key, value, expected
    ):
        cfg = {"name": "choices", key: value}

        entries.check(cfg)
        assert entries.build(cfg)[key] == expected
        assert type(entries.build(cfg)[key]) is type(expected)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            (
                "mode",
                "trian",
                "mode is 'trian', but choices .* expects one of TRAIN, EVAL, OFF.*'TRA",
            ),
            (
                "mode",
                False,
                "mode is False.*YAML reads on, off, yes and no as true and false unless",
            ),
            ("reduction", "men", "expects one of 'sum', 'mean'. Did you mean 'mean'"),
            ("reduction", None, "is None, but choices .* expects one of 'sum', 'mean'"),
            ("optional", "x", "expects one of 'sum', TRAIN, EVAL, OFF, None"),
            ("level", True, "is True, but choices .* expects one of 1, 2"),
            ("level", "1", "is '1', but choices .* expects one of 1, 2"),
            ("number_or_mode", "1e-3", "expects one of TRAIN, EVAL, OFF, float"),
            ("modes", ["TRAIN", "x"], r"modes\[1\] is 'x'"),
            ("by_name", {"a": "x"}, r"by_name\.a is 'x'"),
            ("rates", [0.1, "1e-3"], r"rates\[1\] is the string '1e-3', but .* expects float"),
            (
                "swapped",
                "A",
                r"'A', which choices .* could take for Swapped.A or Swapped.B: write one",
            ),
            ("late", "b", "expects 'a'"),
        ],
    )
    def test_what_is_not_allowed_is_refused_with_what_is(self, entries, key, value, message):
        cfg = {"name": "choices", key: value}

        with pytest.raises(RegistryError, match=message):
            entries.check(cfg)
        with pytest.raises(RegistryError, match=message):
            entries.build(cfg)


@dataclass
class Config:
    name: str = "keep"


def test_an_object_that_is_not_a_mapping_is_refused():
    with pytest.raises(RegistryError, match=r"expected a name or a mapping .* got Config"):
        Things.build(Config())
