"""What the sweep and `expkit status` pay for asking about Slurm."""

import subprocess
import sys


def test_an_experiment_that_slurm_never_had_costs_no_imports(tmp_path):
    code = (
        "import sys; from pathlib import Path; "
        "from expkit_slurm._watching.view import view_scheduler; "
        "print(view_scheduler(Path(sys.argv[1])), sorted(x for x in sys.modules if 'expkit' in x))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )

    packages = ["expkit_slurm", "expkit_slurm._submissions", "expkit_slurm._watching"]
    modules = ["expkit_slurm._submissions.layout", "expkit_slurm._watching.view"]
    assert done.stdout.strip() == f"None {sorted([*packages, *modules])}"
