import subprocess
import sys

HEAVY = (
    "torch",
    "mlflow",
    "matplotlib",
    "pandas",
    "hydra",
    "omegaconf",
    "submitit",
    "seaborn",
    "numpy",
)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_importing_loads_nothing_heavy():
    loaded = run(
        "import sys, expkit_plotting, expkit_plotting.commands\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )

    assert loaded.strip() == "[]"


def test_importing_adds_less_than_60_ms():
    times = [
        float(run(
            "import time; start = time.process_time(); import expkit_plotting; "
            "print(time.process_time() - start)"
        ))
        for _ in range(3)
    ]  # fmt: skip

    assert min(times) < 0.06


def test_every_public_name_is_documented():
    import expkit_plotting

    assert all(getattr(expkit_plotting, name).__doc__ for name in expkit_plotting.__all__)
