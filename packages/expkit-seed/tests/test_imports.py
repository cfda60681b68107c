import subprocess
import sys
import time

HEAVY = [
    "torch",
    "numpy",
    "mlflow",
    "pandas",
    "matplotlib",
    "hydra",
    "omegaconf",
    "submitit",
    "rich",
    "yaml",
]
TOUCH = "import expkit_seed as m; [getattr(m, n) for n in m.__all__]"


def test_importing_loads_nothing_heavy():
    code = f"{TOUCH}; import sys; print([n for n in {HEAVY} if n in sys.modules])"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"


def test_importing_is_quick():
    added = min(_seconds(TOUCH) for _ in range(5)) - min(_seconds("pass") for _ in range(5))

    assert added < 0.06  # the bar is 0.03 s; the margin is for busy machines


def _seconds(code):
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def test_an_unknown_name_is_an_attribute_error():
    import pytest

    import expkit_seed

    with pytest.raises(AttributeError, match="no attribute 'set_sede'"):
        expkit_seed.set_sede  # noqa: B018
