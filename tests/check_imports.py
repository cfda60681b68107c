"""Import each package in an environment made of wheels; fails if something heavy comes along."""

import subprocess
import sys

PACKAGES = [
    "registry",
    "seed",
    "timer",
    "bookkeeping",
    "mlflow",
    "plotting",
    "filter",
    "hydra",
    "slurm",
]
HEAVY = {"torch", "mlflow", "matplotlib", "pandas", "hydra", "omegaconf", "submitit", "numpy"}


def loaded_by(module: str) -> set[str]:
    """The heavy modules that `import module` loads in a fresh interpreter."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    return HEAVY & set(done.stdout.split())


if __name__ == "__main__":
    modules = ["expkit", *(f"expkit_{name}" for name in PACKAGES)]
    found = {module: loaded_by(module) for module in modules}
    for module, heavy in found.items():
        print(f"{module:20} {'loads ' + ', '.join(sorted(heavy)) if heavy else 'light'}")
    raise SystemExit(any(found.values()))
