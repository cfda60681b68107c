import random

import pytest

from expkit_seed import (
    SeededDataset,
    derive_seed,
    isolated_rng,
    loader_kwargs,
    restore_rng_state,
    rng_state,
    sample_seed,
    set_seed,
)


def generator_function():
    yield random.random()


async def coroutine_function():
    return random.random()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: set_seed(-1), ValueError, r"seed must be in 0\.\.4294967295 .*, got -1"),
        (lambda: set_seed(2**32), ValueError, r"got 4294967296.*derive_seed\(0, 4294967296\)"),
        (lambda: set_seed(1.0), TypeError, r"seed must be an integer, got 1\.0 \(float\)"),
        (lambda: set_seed("1"), TypeError, r"seed must be an integer, got '1' \(str\)"),
        (lambda: set_seed(True), TypeError, r"seed must be an integer, got True \(bool\)"),
        (lambda: set_seed(None), TypeError, r"seed must be an integer, got None"),
        (
            lambda: set_seed([1, 2]),
            TypeError,
            r"got \[1, 2\] \(list\)\. A run has one seed\. .* if the defaults list names expkit",
        ),
        (lambda: set_seed(1, rank=-1), ValueError, "rank must be 0 or more, got -1"),
        (lambda: set_seed(1, rank="0"), TypeError, "rank must be an integer, got '0'"),
        (
            lambda: set_seed(1, deterministic=True),
            ValueError,
            "deterministic must be one of 'off', 'warn', 'strict', got True",
        ),
        (
            lambda: set_seed(1, deterministic=False),
            ValueError,
            r"got False\. YAML reads off as false unless it is quoted",
        ),
        (
            lambda: set_seed(10**5000),
            ValueError,
            r"got a number of 16610 bits\. derive_seed\(0, seed\) turns",
        ),
        (lambda: derive_seed(-1, "a"), ValueError, r"base must be in 0\.\."),
        (
            lambda: derive_seed(1, 1.5),
            TypeError,
            r"a name that is not a string must be an integer, got 1\.5",
        ),
        (lambda: derive_seed(1, None), TypeError, "not a string must be an integer, got None"),
        (lambda: sample_seed(1, epoch="3", index=0), TypeError, "epoch must be an integer"),
        (lambda: isolated_rng(-1), ValueError, r"seed must be in 0\.\."),
        (lambda: isolated_rng(print), TypeError, "seed must be an integer, got <built-in"),
        (
            lambda: rng_state({"mine": 3}),
            TypeError,
            r"generator 'mine' is of type int; it must be a torch\.Generator",
        ),
        (
            lambda: rng_state({"mine": random.SystemRandom()}),
            TypeError,
            "generator 'mine' is of type SystemRandom; it must be a",
        ),
        (
            lambda: rng_state(random.Random()),
            TypeError,
            r"generators must be a mapping of names, such as \{'loader': loader\.generator\}, got",
        ),
        (
            lambda: restore_rng_state(rng_state(), [random.Random()]),
            TypeError,
            "generators must be a mapping of names",
        ),
        (
            lambda: isolated_rng(1)(generator_function),
            TypeError,
            "isolated_rng cannot decorate generator_function: .* Use `with isolated_rng",
        ),
        (
            lambda: isolated_rng(1)(coroutine_function),
            TypeError,
            "isolated_rng cannot decorate coroutine_function",
        ),
        (lambda: restore_rng_state(None), ValueError, r"must be what rng_state\(\) returned"),
        (lambda: restore_rng_state({}), ValueError, r"got \{\}\. Its keys would be python, numpy"),
        (
            lambda: restore_rng_state({"python": [1, 2]}),
            ValueError,
            "part 'python' is damaged or of another kind",
        ),
        (
            lambda: restore_rng_state(rng_state({"a": random.Random()}) | {"generators": [1]}),
            ValueError,
            "part 'generators' is damaged",
        ),
        (
            lambda: restore_rng_state(
                rng_state() | {"generators": {"a": {"kind": "torch"}}}, {"a": random.Random()}
            ),
            ValueError,
            "generator 'a' was saved as 'torch', but the one given is 'python'",
        ),
    ],
)
def test_bad_input_says_what_is_wrong_and_what_is_allowed(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: loader_kwargs(-1), ValueError, r"seed must be in 0\.\."),
        (lambda: loader_kwargs(1, "0"), TypeError, "rank must be an integer"),
        (lambda: SeededDataset(iter([1]), 1), TypeError, r"list_iterator has no __getitem__ and"),
        (lambda: SeededDataset([1], "1"), TypeError, "seed must be an integer"),
        (lambda: SeededDataset([1], 1).set_epoch(0.5), TypeError, "epoch must be an integer"),
    ],
)
def test_bad_input_of_loaders_says_so_too(call, error, message, torch):
    with pytest.raises(error, match=message):
        call()


def test_a_bad_seed_changes_nothing(draws):
    set_seed(1)
    expected = draws()
    set_seed(1)

    with pytest.raises(ValueError, match="seed"):
        set_seed(-1)

    assert draws() == expected
