import subprocess
import sys

import pytest

import expkit_filter

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
TOUCH = "import expkit_filter as m; [getattr(m, n) for n in m.__all__]"


def test_importing_loads_nothing_heavy():
    code = f"{TOUCH}; import sys; print([n for n in {HEAVY} if n in sys.modules])"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(("code", "most_s"), [("import expkit_filter", 0.03), (TOUCH, 0.06)])
def test_importing_is_quick(code, most_s):
    added = min(_cpu_s(code) for _ in range(5)) - min(_cpu_s("pass") for _ in range(5))

    assert added < most_s  # 2 and 20 ms on a quiet machine


def _cpu_s(code):
    """Processor time, which other processes disturb less than the clock on the wall."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'RunFliter'"):
        expkit_filter.RunFliter  # noqa: B018
