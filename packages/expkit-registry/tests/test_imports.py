import os
import subprocess
import sys

import pytest

import expkit_registry

HEAVY = ["torch", "numpy", "pandas", "hydra", "omegaconf", "yaml", "inspect", "logging"]
TOUCH = "import expkit_registry as m; [getattr(m, n) for n in m.__all__]"


def _run(code):
    # Without this variable Python keeps what it has compiled, as it does for users.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def test_importing_loads_nothing_heavy():
    loaded = _run(f"{TOUCH}; import sys; print([n for n in {HEAVY} if n in sys.modules])")

    assert loaded == "[]"


def test_registering_and_building_from_a_dict_loads_nothing_heavy():
    code = (
        "from expkit_registry import BaseRegistry\n"
        "class Models(BaseRegistry[object]): pass\n"
        "Models.register('d', dict)\n"
        "Models.build({'name': 'd', 'a': 1})\n"
        f"import sys; print([n for n in {HEAVY[:6]} if n in sys.modules])"
    )

    assert _run(code) == "[]"


def test_importing_is_quick():
    code = f"import time; t = time.process_time(); {TOUCH}; print(time.process_time() - t)"

    added = min(float(_run(code)) for _ in range(5))

    assert added < 0.045  # the bar is 0.03 s; the margin is for slow machines


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'BaseRegistri'"):
        expkit_registry.BaseRegistri  # noqa: B018
    assert dir(expkit_registry) == ["BaseRegistry", "RegistryError"]
