import subprocess
import sys
import time

import pytest

import expkit_registry

HEAVY = ["torch", "numpy", "pandas", "hydra", "omegaconf", "yaml", "inspect", "logging"]
TOUCH = "import expkit_registry as m; [getattr(m, n) for n in m.__all__]"


def _run(code):
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - begin, done.stdout.strip()


def test_importing_loads_nothing_heavy():
    _, loaded = _run(f"{TOUCH}; import sys; print([n for n in {HEAVY} if n in sys.modules])")

    assert loaded == "[]"


def test_registering_and_building_from_a_dict_loads_nothing_heavy():
    code = (
        "from expkit_registry import BaseRegistry\n"
        "class Models(BaseRegistry[object]): pass\n"
        "Models.register('d', dict)\n"
        "Models.build({'name': 'd', 'a': 1})\n"
        f"import sys; print([n for n in {HEAVY[:6]} if n in sys.modules])"
    )

    assert _run(code)[1] == "[]"


def test_importing_is_quick():
    _run(TOUCH)  # compiles what was not compiled

    added = min(_run(TOUCH)[0] for _ in range(5)) - min(_run("pass")[0] for _ in range(5))

    assert added < 0.06  # the bar is 0.03 s; the margin is for busy machines


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'BaseRegistri'"):
        expkit_registry.BaseRegistri  # noqa: B018
    assert dir(expkit_registry) == ["BaseRegistry", "RegistryError"]
