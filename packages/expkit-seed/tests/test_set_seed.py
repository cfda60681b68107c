import os
import random

import pytest

from expkit_seed import set_seed


def test_the_same_seed_gives_the_same_numbers_in_all_generators(draws, torch):
    set_seed(7)
    first = draws() + draws()
    set_seed(7)
    again = draws() + draws()
    set_seed(8)
    other = draws() + draws()

    assert len(first) == 6
    assert first == again
    assert not set(first) & set(other)


def test_the_numbers_are_those_after_seeding_each_generator_by_itself():
    numpy = pytest.importorskip("numpy")
    random.seed(7)
    numpy.random.seed(7)
    expected = random.random(), numpy.random.rand()

    set_seed(7)

    assert (random.random(), numpy.random.rand()) == expected


def test_it_returns_the_seed_in_use(draws):
    numpy = pytest.importorskip("numpy")

    assert set_seed(7) == 7
    assert type(set_seed(numpy.int64(7))) is int
    assert set_seed(2**32 - 1) == 2**32 - 1


def test_each_rank_draws_its_own_numbers(draws):
    own_seed = set_seed(7, rank=1)
    of_rank_1 = draws()
    set_seed(7, rank=0)
    of_rank_0 = draws()
    set_seed(8, rank=0)
    of_next_seed = draws()

    assert own_seed != 7
    assert not {*of_rank_1} & {*of_rank_0, *of_next_seed}


def test_it_works_without_numpy_and_torch(run_python):
    code = (
        "import random; from expkit_seed import *; import expkit_seed as s\n"
        "s.set_seed(7); a = random.random(); state = s.rng_state(); b = random.random()\n"
        "with s.isolated_rng(7): assert random.random() == a\n"
        "s.restore_rng_state(state); assert random.random() == b\n"
        "try: s.loader_kwargs(1)\n"
        "except ImportError as error: print(error)\n"
    )

    out = run_python(code, blocked=["numpy", "torch"])

    assert out.strip() == "loader_kwargs needs PyTorch, which is not installed: pip install torch"


def test_it_works_with_numpy_and_without_torch(run_python):
    pytest.importorskip("numpy")
    code = (
        "from expkit_seed import set_seed\nset_seed(7)\nimport numpy\nprint(numpy.random.rand())\n"
    )

    assert run_python(code, blocked=["torch"]) == "0.07630828937395717\n"


def test_a_module_imported_after_the_seed_is_seeded_too(run_python, torch):
    code = "from expkit_seed import set_seed\nset_seed(7)\nimport torch\nprint(torch.rand(()))\n"

    assert run_python(code) == run_python(code)


def test_a_folder_named_torch_does_not_count_as_pytorch(run_python, tmp_path):
    (tmp_path / "torch").mkdir()
    code = (
        "import sys; from expkit_seed import loader_kwargs, set_seed\n"
        "sys.path[:] = [path for path in sys.path if not path.endswith('-packages')]\n"
        "import torch; assert torch.__file__ is None; del sys.modules['torch']\n"
        "print(set_seed(7))\n"
        "try: loader_kwargs(1)\n"
        "except ImportError as error: print(error)\n"
    )

    assert run_python(code).splitlines() == [
        "7",
        "loader_kwargs needs PyTorch, which is not installed: pip install torch",
    ]


@pytest.fixture
def switches(torch, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_seed(0)

    def read():
        return {
            "algorithms": torch.are_deterministic_algorithms_enabled(),
            "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
            "cudnn": torch.backends.cudnn.deterministic,
            "benchmark": torch.backends.cudnn.benchmark,
            "cudnn tf32": torch.backends.cudnn.allow_tf32,
            "matmul tf32": torch.backends.cuda.matmul.allow_tf32,
            "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        }

    yield read
    set_seed(0)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)  # stays where a test says that CUDA is in use


def test_strict_sets_every_switch(switches):
    set_seed(7, deterministic="strict")

    assert switches() == {
        "algorithms": True,
        "warn only": False,
        "cudnn": True,
        "benchmark": False,
        "cudnn tf32": False,
        "matmul tf32": False,
        "cublas": ":4096:8",
    }


def test_warn_prefers_deterministic_algorithms_and_keeps_tf32(switches):
    set_seed(7, deterministic="warn")

    assert switches()["algorithms"]
    assert switches()["warn only"]
    assert switches()["cudnn tf32"], "TF32 is fast and deterministic: only strict turns it off"


def test_off_undoes_what_an_earlier_run_in_this_process_set(switches, torch):
    torch.backends.cudnn.benchmark = True
    before = switches()

    set_seed(7, deterministic="strict")
    set_seed(7, deterministic="warn")
    set_seed(7)

    assert switches() == before
    torch.backends.cudnn.benchmark = False


def test_warn_after_strict_turns_tf32_on_again(switches, torch):
    torch.backends.cuda.matmul.allow_tf32 = True

    set_seed(7, deterministic="strict")
    set_seed(7, deterministic="warn")

    assert switches()["matmul tf32"]
    assert switches()["warn only"]
    assert switches()["cublas"] == ":4096:8"
    torch.backends.cuda.matmul.allow_tf32 = False


def test_off_leaves_the_users_own_switches_alone(switches, torch):
    torch.backends.cudnn.deterministic = True

    set_seed(7)

    assert torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = False


def test_a_deterministic_workspace_that_is_already_set_is_kept(switches, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")

    set_seed(7, deterministic="strict")

    assert switches()["cublas"] == ":16:8"


# The tests below replace a part of torch: this machine may have no GPU, and a GPU in use remains
# so for the rest of the process.
@pytest.mark.parametrize("workspace", [None, ":0:0"])
def test_strict_comes_too_late_once_cuda_is_in_use(switches, torch, monkeypatch, workspace):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    if workspace:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    before = switches()

    with pytest.raises(RuntimeError, match=r"already in use.*export CUBLAS_WORKSPACE_CONFIG=:4096"):
        set_seed(7, deterministic="strict")

    assert switches() == before


def test_a_process_may_go_from_strict_to_off_and_back(switches, torch, monkeypatch):
    set_seed(7, deterministic="strict")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)  # by the first run

    set_seed(7)
    assert not switches()["algorithms"]

    set_seed(7, deterministic="strict")
    assert switches()["algorithms"]


def test_warn_does_not_raise_when_cuda_is_in_use(switches, torch, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)

    with pytest.warns(UserWarning, match="already in use with no CUBLAS_WORKSPACE_CONFIG"):
        set_seed(7, deterministic="warn")

    assert switches()["cublas"] is None, "set too late, it would make a later strict look right"


def test_strict_repeats_training_steps_bit_for_bit(switches, torch):
    def train():
        set_seed(7, deterministic="strict")
        model = torch.nn.Sequential(
            torch.nn.Linear(8, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1)
        )
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(4, 8)).square().mean().backward()
            optimizer.step()
        return torch.nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(train(), train())
