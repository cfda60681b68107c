import subprocess
import sys


def test_the_package_brings_the_chain_below_it_and_imports_none_of_it():
    code = (
        "import sys, expkit_slurm; before = {name.partition('.')[0] for name in sys.modules}\n"
        "import expkit_hydra, expkit_filter, expkit_bookkeeping\n"
        "print(*before & {'expkit_hydra', 'submitit', 'hydra'})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
