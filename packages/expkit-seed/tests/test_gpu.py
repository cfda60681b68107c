import os
import subprocess
import sys

import pytest

from expkit_seed import isolated_rng, restore_rng_state, rng_state, set_seed

pytestmark = pytest.mark.gpu


@pytest.fixture
def cuda(torch):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch


def draw(torch):
    return [
        float(torch.rand((), device=f"cuda:{index}")) for index in range(torch.cuda.device_count())
    ]


def test_all_devices_are_seeded(cuda):
    set_seed(1)
    first = draw(cuda)
    set_seed(1)

    assert draw(cuda) == first


def test_states_of_all_devices_pass_through_a_checkpoint_on_the_gpu(cuda, tmp_path):
    set_seed(1)
    generator = cuda.Generator("cuda").manual_seed(4)
    draw(cuda)
    cuda.save(rng_state({"mine": generator}), tmp_path / "state.pt")
    expected = draw(cuda), float(cuda.rand((), device="cuda", generator=generator))
    set_seed(99)

    state = cuda.load(tmp_path / "state.pt", weights_only=True, map_location="cuda")
    restore_rng_state(state, {"mine": generator})

    assert (draw(cuda), float(cuda.rand((), device="cuda", generator=generator))) == expected


def test_states_of_more_devices_than_this_machine_has_are_a_warning(cuda):
    set_seed(1)
    draw(cuda)
    state = rng_state()
    expected = draw(cuda)
    state["cuda"] = state["cuda"] + state["cuda"][:1]

    with pytest.warns(UserWarning, match="CUDA devices were saved"):
        restore_rng_state(state)

    assert draw(cuda) == expected


def test_isolation_covers_the_devices(cuda):
    set_seed(1)
    draw(cuda)
    state = rng_state()
    expected = draw(cuda)
    restore_rng_state(state)

    with isolated_rng(7):
        draw(cuda)

    assert draw(cuda) == expected


FRESH = """
import torch
from expkit_seed import isolated_rng, restore_rng_state, rng_state, set_seed
"""


def run(code, **environ):
    environment = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"} | environ
    return subprocess.run(
        [sys.executable, "-c", FRESH + code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_isolation_before_the_first_use_of_cuda_leaves_its_seed(cuda):
    plain = run("set_seed(1)\nprint(torch.rand((), device='cuda').item())")
    isolated = run(
        "set_seed(1)\nwith isolated_rng(7): torch.rand((), device='cuda')\n"
        "print(torch.rand((), device='cuda').item())"
    )

    assert isolated.stdout == plain.stdout != ""


def test_a_state_restored_before_the_first_use_of_cuda_wins_over_the_seed(cuda, tmp_path):
    path = tmp_path / "state.pt"
    saved = run(
        f"set_seed(1)\ntorch.rand((), device='cuda')\ntorch.save(rng_state(), {str(path)!r})\n"
        "print(torch.rand((), device='cuda').item())"
    )
    resumed = run(
        f"set_seed(1)\nrestore_rng_state(torch.load({str(path)!r}, weights_only=True))\n"
        "print(torch.rand((), device='cuda').item())"
    )

    assert resumed.stdout == saved.stdout != ""


def test_strict_works_before_the_first_use_of_cuda_and_raises_after_it(cuda):
    before = run(
        "set_seed(1, deterministic='strict')\n"
        "a = torch.rand(64, 64, device='cuda')\nprint((a @ a).sum().item())"
    )
    late = run("torch.rand(2, device='cuda')\nset_seed(1, deterministic='strict')")
    exported = run(
        "torch.rand(2, device='cuda')\nset_seed(1, deterministic='strict')",
        CUBLAS_WORKSPACE_CONFIG=":4096:8",
    )

    assert before.returncode == 0, before.stderr
    assert "CUDA is already in use with no CUBLAS_WORKSPACE_CONFIG" in late.stderr
    assert exported.returncode == 0, exported.stderr
