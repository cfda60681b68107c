import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expkit_seed import isolated_rng, restore_rng_state, rng_state, set_seed

numpy = pytest.importorskip("numpy")


def test_restored_generators_continue_from_where_they_were(draws, torch):
    set_seed(1)
    random.gauss(0, 1)  # keeps a second number for the next call, which is part of the state
    numpy.random.randn()
    draws()
    state = rng_state()
    expected = draws(), random.gauss(0, 1), numpy.random.randn()
    set_seed(99)

    restore_rng_state(state)

    assert (draws(), random.gauss(0, 1), numpy.random.randn()) == expected


def test_the_state_survives_a_checkpoint_that_is_loaded_without_pickle(draws, torch, tmp_path):
    generators = make_generators(torch)
    set_seed(1)
    state = rng_state(generators)
    torch.save({"rng": state}, tmp_path / "checkpoint.pt")
    expected = draws(), draw_each(torch, generators)
    set_seed(99)
    others = make_generators(torch, seed=5)

    loaded = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    restore_rng_state(loaded["rng"], others)

    assert (draws(), draw_each(torch, others)) == expected


def test_a_loader_without_a_generator_has_no_state_of_its_own(torch):
    loader = torch.utils.data.DataLoader([1, 2])

    state = rng_state({"loader": loader.generator})
    restore_rng_state(state, {"loader": loader.generator})

    assert state["generators"] == {}


def make_generators(torch, seed=3):
    bits = numpy.random
    return {
        "loader": torch.Generator().manual_seed(seed),
        "pcg64": numpy.random.default_rng(seed),
        "mt19937": numpy.random.Generator(bits.MT19937(seed)),
        "philox": numpy.random.Generator(bits.Philox(seed)),
        "sfc64": numpy.random.Generator(bits.SFC64(seed)),
        "legacy": numpy.random.RandomState(seed),
        "python": random.Random(seed),
    }


def draw_each(torch, generators):
    numbers = {}
    for name, generator in generators.items():
        if isinstance(generator, torch.Generator):
            numbers[name] = float(torch.rand((), generator=generator))
        elif isinstance(generator, random.Random):
            numbers[name] = generator.random()
        else:
            numbers[name] = [generator.normal() for _ in range(3)]
    return numbers


@given(st.integers(0, 2**32 - 1), st.integers(0, 700))
def test_any_state_is_restored(seed, steps):
    set_seed(seed)
    for _ in range(steps):
        random.random()
    numpy.random.rand(steps)
    state = rng_state()
    expected = random.random(), numpy.random.rand()

    restore_rng_state(state)

    assert (random.random(), numpy.random.rand()) == expected


def test_taking_the_state_draws_nothing(draws):
    set_seed(1)
    expected = draws()
    set_seed(1)

    rng_state()

    assert draws() == expected


def test_taking_the_state_imports_nothing(run_python):
    code = (
        "import sys; from expkit_seed import rng_state, isolated_rng\n"
        "with isolated_rng(): state = rng_state()\n"
        "print(sorted(state), 'torch' in sys.modules, 'numpy' in sys.modules)\n"
    )

    assert run_python(code).strip() == "['generators', 'python'] False False"


def test_cuda_states_of_another_machine_are_a_warning_and_the_rest_is_restored(draws, torch):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA devices; test_gpu covers it")
    set_seed(1)
    state = rng_state() | {"cuda": [torch.zeros(16, dtype=torch.uint8)] * 2}
    expected = draws()
    set_seed(99)

    with pytest.warns(
        UserWarning, match="2 CUDA devices were saved, and this machine has 0: 0 restored"
    ):
        restore_rng_state(state)

    assert draws() == expected


def test_generators_with_other_names_are_a_warning_and_the_rest_is_restored(draws):
    set_seed(1)
    state = rng_state({"a": random.Random(1), "b": random.Random(2)})
    expected = draws()
    set_seed(99)
    b, c = random.Random(9), random.Random(3)

    with pytest.warns(UserWarning, match="named generators") as warned:
        restore_rng_state(state, {"b": b, "c": c})

    assert [str(warning.message) for warning in warned] == [
        "named generators saved but not given, so not restored: a",
        "named generators given but not saved, so not restored: c",
    ]
    assert draws() == expected
    assert b.random() == random.Random(2).random()
    assert c.random() == random.Random(3).random()


def test_a_state_saved_without_torch_restores_what_it_has(draws, torch):
    set_seed(1)
    state = {key: value for key, value in rng_state().items() if key != "torch"}
    expected = draws()[:2]
    set_seed(99)

    restore_rng_state(state)

    assert draws()[:2] == expected


def test_a_state_with_torch_and_numpy_is_restored_without_them(run_python, torch, tmp_path):
    import json

    set_seed(1)
    state = rng_state()
    state["torch"] = state["torch"].tolist()
    (tmp_path / "state.json").write_text(json.dumps(state))
    expected = random.random()
    code = (
        "import json, random, pathlib; from expkit_seed import restore_rng_state\n"
        "import warnings; warnings.simplefilter('always'); warnings.showwarning = "
        "lambda message, *args, **kwargs: print(message)\n"
        "restore_rng_state(json.loads(pathlib.Path('state.json').read_text()))\n"
        "print(random.random())\n"
    )

    out = run_python(code, blocked=["numpy", "torch"])

    assert out.splitlines() == [
        "the state of numpy is not restored: numpy is not installed",
        "the state of torch is not restored: torch is not installed",
        str(expected),
    ]


@pytest.mark.parametrize("part", ["python", "numpy", "torch", "generators"])
def test_a_damaged_state_changes_nothing(draws, torch, part):
    mine = random.Random(4)
    state = rng_state({"mine": mine})
    state[part] = {
        "python": [3, [1, 2], None],
        "numpy": {"bit_generator": "MT19937", "state": {"key": [1], "pos": 0}},
        "torch": torch.zeros(3, dtype=torch.uint8),
        "generators": {"mine": {"kind": "python", "state": [3, [1], None]}},
    }[part]
    set_seed(1)
    expected = draws()
    set_seed(1)

    with pytest.raises(ValueError, match=rf"RNG state: part '{part}.*' is damaged"):
        restore_rng_state(state, {"mine": mine})

    assert draws() == expected
    assert mine.random() == random.Random(4).random()


def test_isolation_hides_all_draws_inside(draws, torch):
    set_seed(1)
    expected = draws()
    set_seed(1)

    with isolated_rng(7):
        inside = draws()
    after = draws()
    with isolated_rng(7):
        again = draws()

    assert after == expected
    assert inside == again


def test_isolation_restores_after_an_exception_too(draws, torch):
    set_seed(1)
    expected = draws()
    set_seed(1)

    @isolated_rng(7)
    def evaluate():
        draws()
        raise KeyError("inside")

    with pytest.raises(KeyError):
        evaluate()

    assert draws() == expected


def test_isolation_without_a_seed_continues_the_streams_inside(draws):
    set_seed(1)
    expected = draws()
    set_seed(1)

    with isolated_rng():
        assert draws() == expected
    assert draws() == expected


def test_isolation_as_a_decorator_works_in_every_call_and_inside_itself(draws):
    @isolated_rng(7)
    def evaluate(depth):
        """Doc."""
        numbers = draws()
        return [numbers, *(evaluate(depth - 1) if depth else [])]

    set_seed(1)
    expected = draws()
    set_seed(1)

    first, second = evaluate(2), evaluate(2)

    assert draws() == expected
    assert first == second
    assert first[0] == first[1] == first[2]
    assert evaluate.__name__ == "evaluate"


def test_isolation_leaves_the_pending_seed_of_cuda(torch):
    set_seed(1)

    with isolated_rng(7):
        torch.rand(())

    assert torch.initial_seed() == 1
