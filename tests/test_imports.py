"""Importing a package loads nothing heavy, and its names are all there."""

import json
import subprocess
import sys

import pytest
from workspace import REPOSITORY, environment

HEAVY = {
    "hydra", "matplotlib", "mlflow", "numpy", "omegaconf", "pandas", "rich", "seaborn", "sklearn",
    "submitit", "torch", "yaml",
}  # fmt: skip
PACKAGES = [
    "expkit", "expkit_bookkeeping", "expkit_filter", "expkit_hydra", "expkit_mlflow",
    "expkit_plotting", "expkit_registry", "expkit_seed", "expkit_slurm", "expkit_timer",
]  # fmt: skip
PUBLIC_MODULES = [
    f"{path.parent.name}.{path.stem}"
    for name in ("commands", "launching", "reading")
    for path in sorted(REPOSITORY.glob(f"packages/*/src/expkit*/{name}.py"))
]
PROBE = """
import importlib, json, sys
package = importlib.import_module(sys.argv[1])
loaded = {name.partition(".")[0] for name in sys.modules}
names = getattr(package, "__all__", [])
values = {name: getattr(package, name) for name in names}
described = {name: v for name, v in values.items() if isinstance(v, type) or hasattr(v, "__code__")}
undocumented = [name for name, value in described.items() if not value.__doc__]
try:
    package.Misspelt
except AttributeError as error:
    complaint = str(error)
print(json.dumps([sorted(loaded), undocumented, dir(package), list(names), complaint]))
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_nothing_heavy_and_its_names_are_there(package):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, package],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip

    loaded, undocumented, listed, names, complaint = json.loads(done.stdout)

    assert HEAVY.intersection(loaded) == set()
    assert undocumented == []
    assert "'Misspelt'" in complaint
    if names:
        assert listed == names
    assert not [other for other in loaded if other.startswith("expkit") and other != package]


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_importing_a_public_module_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )

    loaded = {name.partition(".")[0] for name in done.stdout.split()}

    assert HEAVY.intersection(loaded) == set()


def test_a_parser_is_built_without_what_its_verb_needs():
    code = """
import json, sys
from importlib.metadata import entry_points
parsers = {point.name: point.load()() for point in entry_points(group="expkit.parsers")}
helps = [parser.format_help() for parser in parsers.values()]
print(json.dumps([{verb: parser.prog for verb, parser in parsers.items()}, list(sys.modules)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )

    programs, modules = json.loads(done.stdout)

    assert {"status", "plot", "sync", "retry"} <= programs.keys()
    assert programs == {verb: f"expkit {verb}" for verb in programs}
    assert HEAVY.intersection(name.partition(".")[0] for name in modules) == set()
