"""The GPUs of one machine: what the processes of `n_jobs` see of them."""

import os
import re
from pathlib import Path

import pytest

SCRIPT = """
import os
import time
from pathlib import Path

import hydra


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    here = Path(f"runs{cfg.x}")
    here.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    while len(list(Path(".").glob("runs*"))) < int(os.environ["TOGETHER"]):
        time.sleep(0.01)
    Path(f"saw{cfg.x}").write_text(here.read_text())
    if Path(f"after{cfg.x}").exists():  # until the run that gets the free GPU has begun
        while not Path(f"runs{Path(f'after{cfg.x}').read_text()}").exists():
            time.sleep(0.01)


if __name__ == "__main__":
    main()
"""
LISTING = """GPU 0: NVIDIA H200 (UUID: GPU-a)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-b)
  MIG 3g.20gb     Device  0: (UUID: MIG-c)
  MIG 3g.20gb     Device  1: (UUID: MIG-d)
"""


@pytest.fixture
def machine(app):
    """The app on a machine whose GPUs nvidia-smi lists."""
    (app.folder / "train.py").write_text(SCRIPT)
    smi = app.folder / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTING}END\n")
    smi.chmod(0o755)
    return app


def sweep(machine, *overrides, together, code=0, **variables):
    """Run the grid; returns what it printed, and what each run saw."""
    path = f"{machine.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    process = machine.start(
        "train.py", "-m", *overrides, PATH=path, TOGETHER=str(together), **variables
    )
    output = machine.finish(process)
    assert process.returncode == code, output
    saw = {path.name: path.read_text() for path in Path(machine.folder).glob("saw*")}
    return output, [saw[name] for name in sorted(saw)]


def test_each_process_gets_a_gpu_or_a_part_of_one_to_itself(machine):
    output, saw = sweep(machine, "hydra.launcher.n_jobs=3", together=3)

    assert re.search(r"3 runs, 3 at a time, \d threads? each, 1 GPU each", output)
    assert sorted(saw) == ["0", "MIG-c", "MIG-d"]


def test_a_run_that_ends_gives_its_gpu_to_the_next(machine):
    (machine.folder / "after1").write_text("3")  # the first run stays until the third has begun

    _, saw = sweep(machine, "hydra.launcher.n_jobs=2", together=2, CUDA_VISIBLE_DEVICES="5,7")

    assert saw == ["5", "7", "7"]


def test_more_processes_than_gpus_are_told_how_to_divide_them(machine):
    two = {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,-1,3"}  # CUDA stops at what is no device
    output, saw = sweep(machine, "hydra.launcher.n_jobs=3", together=3, **two)
    assert saw == ["GPU-a,GPU-b,-1,3"] * 3
    (advice,) = re.findall(r"all see the 2 GPUs: (hydra\S+) divides them", output)

    _, saw = sweep(
        machine, "hydra.launcher.n_jobs=3", advice, "results_dir=other", together=3, **two
    )
    assert sorted(saw) == ["GPU-a", "GPU-a", "GPU-b"]


def test_several_gpus_for_each_run_are_as_many_runs_at_a_time_as_there_are_gpus_for(machine):
    options = ["hydra.launcher.n_jobs=3", "hydra.launcher.gpus_per_run=2"]
    _, saw = sweep(machine, *options, together=1, CUDA_VISIBLE_DEVICES="0,1,2")
    assert saw == ["0,1"] * 3

    output, _ = sweep(
        machine,
        *options,
        "results_dir=other",
        together=1,
        code=1,
        CUDA_VISIBLE_DEVICES="MIG-c",
    )
    assert "hydra.launcher.gpus_per_run=2, and this process sees 1 GPU." in output


@pytest.mark.parametrize(
    ("options", "variables"),
    [
        (["hydra.launcher.n_jobs=3", "hydra.launcher.gpus_per_run=0"], {}),
        (["hydra.launcher.gpus_per_run=1"], {}),  # in the sweep's own process
        (["hydra.launcher.n_jobs=3"], {"CUDA_VISIBLE_DEVICES": ""}),
    ],
)
def test_otherwise_all_runs_see_what_the_sweep_sees(machine, options, variables):
    _, saw = sweep(machine, *options, together=1, **variables)

    assert saw == [variables.get("CUDA_VISIBLE_DEVICES", "all")] * 3


def test_a_number_of_gpus_that_makes_no_sense_is_refused(machine):
    output, _ = sweep(machine, "hydra.launcher.gpus_per_run=1.5", together=1, code=1)

    assert "hydra.launcher.gpus_per_run=1.5 must be a whole number of GPUs, a fraction" in output
