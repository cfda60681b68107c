"""The commands that are printed, however the program was started: each is run, and works."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

MODULE = """
import hydra
from .factor import FACTOR


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    if cfg.fails:
        raise ValueError("it fails")
    return cfg.x * FACTOR


if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [expkit, _self_]
experiment_id: first
x: 1
fails: false
expkit: {after: []}
"""
PYTHON = shlex.quote(sys.executable)
BIN = str(Path(sys.executable).parent)
GRID = "-m x=1,2"


@pytest.fixture
def project(tmp_path):
    """A package that imports from itself, a script beside it, and an installed command."""
    package = tmp_path / "proj"
    (package / "conf").mkdir(parents=True)
    (package / "conf" / "config.yaml").write_text(CONFIG)
    (package / "__init__.py").touch()
    (package / "conf" / "__init__.py").touch()
    (package / "factor.py").write_text("FACTOR = 2\n")
    (package / "train.py").write_text(MODULE)
    (package / "__main__.py").write_text("from .train import main\n\nmain()\n")
    script = MODULE.replace(".factor", "proj.factor").replace('"conf"', '"proj/conf"')
    for path in (tmp_path / "train.py", tmp_path / "bin" / "train-proj"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{script}")
        path.chmod(0o755)
    installed = (tmp_path / "bin" / "train-proj").read_text()
    main = "import sys\nsys.path.insert(0, sys.path[0] + '/..')\nfrom proj.train import main\n"
    (tmp_path / "bin" / "train-proj").write_text(installed.partition("\n")[0] + f"\n{main}main()\n")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


def shell(command, folder, *, path=(), code=0, **variables):
    """Run a line in a shell whose PATH has neither this environment nor the project."""
    usual = [entry for entry in os.environ["PATH"].split(os.pathsep) if entry != BIN]
    environment = {**os.environ, "COLUMNS": "200", **variables}
    environment["PATH"] = os.pathsep.join([*map(str, path), *usual])
    result = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert code in (result.returncode, None), result.stdout
    return result.stdout


def run_again(output):
    (line,) = [line for line in output.splitlines() if line.startswith("run again")]
    return line.removeprefix("run again").strip()


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        ("python -m proj.train", "python -m proj.train"),
        ("python -m proj", "python -m proj"),
        ("python3 -u -W ignore train.py", "python3 -u -W ignore train.py"),
        ("python ../{name}/train.py", "python ../{name}/train.py"),
        ("./train.py", "python ./train.py"),
        (".venv/bin/python -m proj.train", ".venv/bin/python -m proj.train"),
        ("train-proj", "train-proj"),
        pytest.param(
            "python -m pdb -c continue -c quit train.py",
            "python train.py",
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="pdb takes -m for itself"),
        ),
        (
            "python -c 'from proj.train import main; main()'",
            "python -c 'from proj.train import main; main()'",
        ),
    ],
)
def test_the_command_to_run_again_is_what_was_typed(project, typed, printed):
    path = [BIN, project / "bin"]
    typed, printed = (text.format(name=project.name) for text in (typed, printed))

    output = shell(f"{typed} {GRID}", project, path=path)

    assert run_again(output) == f"{printed} {GRID}"
    assert "nothing to do" in shell(run_again(output), project, path=path)


@pytest.mark.parametrize(
    ("typed", "variables"),
    [
        (f"{PYTHON} -m proj.train", {}),
        (f"UV_RUN_RECURSION_DEPTH=1 PATH={BIN}:$PATH python -m proj.train", {}),
        (f"UV_RUN_RECURSION_DEPTH=1 PATH=$PWD/bin:{BIN}:$PATH train-proj", {}),
    ],
)
def test_what_only_the_programs_own_path_finds_is_printed_with_its_place(project, typed, variables):
    output = shell(f"{typed} {GRID}", project, **variables)

    assert "nothing to do" in shell(run_again(output), project)


def test_from_another_folder_the_script_is_where_it_was_typed(project):
    script = project / "train.py"
    output = shell(f"python {script} {GRID}", project / "elsewhere", path=[BIN])

    assert run_again(output) == f"python {script} {GRID}"
    assert "nothing to do" in shell(run_again(output), project / "elsewhere", path=[BIN])
    description = next((project / "elsewhere" / "results").rglob("grids/*/grid_search.yaml"))
    assert yaml.safe_load(description.read_text())["command"] == ["../train.py", "-m", "x=1,2"]


def test_without_a_command_line_nothing_is_printed_to_run_again(project):
    call = "import sys; sys.argv = ['train', '-m', 'x=1,2']; from proj.train import main; main()"
    process = subprocess.run(
        [sys.executable, "-"], input=call, cwd=project, capture_output=True, text=True, check=True
    )

    assert "2 completed" in process.stdout
    assert "run again" not in process.stdout


@pytest.mark.parametrize(
    ("typed", "run"),
    [
        ("python -m proj.train", GRID),
        ("python train.py", GRID),
        ("train-proj", GRID),
        ("python -O -m proj", "x=2"),
        ("train-proj", "x=2"),
    ],
)
def test_the_command_in_a_debugger_runs_the_run_from_any_folder(project, typed, run):
    path = [BIN, project / "bin"]
    # An own name: without -m there is no swept key that would name the run.
    shell(f"{typed} {run} 'run_name=run_${{x}}' fails=true", project, path=path, code=1)

    for folder in (project, project / "elsewhere"):
        experiment = os.path.relpath(project / "results" / "first", folder)
        output = shell(f"python -m expkit_hydra show {experiment} run_2", folder, path=path)
        command = output.rstrip().splitlines()[-1]
        assert "pdb -c continue" in command
        debugged = shell(f"{command} results_dir={project / 'debug'}", folder, path=path, code=None)
        assert "ValueError: it fails" in debugged
        assert (project / "debug" / "first" / "training" / "run_2" / "run.json").is_file()
        (project / "debug").rename(project / f"debug_{folder.name}")


@pytest.mark.parametrize("path", [[BIN], []])
def test_the_command_that_shows_a_failed_run_does(project, path):
    output = shell(f"{PYTHON} -m proj.train {GRID} fails=true", project, path=path, code=1)

    (line,) = [line for line in output.splitlines() if "results/first/training/2   (" in line]
    command = line.partition("(")[2].removesuffix(")")
    assert "ValueError: it fails" in shell(command, project, path=path)
