import subprocess
import sys

import pytest

import expkit_mlflow

HEAVY = ("mlflow", "torch", "numpy", "pandas", "matplotlib", "hydra", "omegaconf", "yaml")


def test_the_package_and_its_logger_load_nothing_heavy():
    code = f"""if True:
        import sys
        from expkit_mlflow import MLFlowLogger, sync, SyncReport, TrackingError
        import expkit_mlflow.commands
        print([name for name in {HEAVY} if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_importing_the_package_costs_next_to_nothing():
    code = """if True:
        import time
        start = time.process_time()
        from expkit_mlflow import MLFlowLogger
        print(time.process_time() - start)
    """
    command = [sys.executable, "-c", code]
    times = [float(subprocess.run(command, capture_output=True).stdout) for _ in range(3)]

    assert min(times) < 0.12  # 0.03 on an idle machine


def test_every_public_name_is_there():
    for name in expkit_mlflow.__all__:
        assert getattr(expkit_mlflow, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Logger'"):
        expkit_mlflow.Logger  # noqa: B018
