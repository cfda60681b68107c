import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace import REPOSITORY

LEAVES = sorted(REPOSITORY.glob("packages/expkit-*"))
PACKAGES = [*LEAVES, REPOSITORY / "packages" / "expkit"]
CHAIN = ["expkit_bookkeeping", "expkit_filter", "expkit_hydra", "expkit_slurm"]
# What packages that work alone ask about folders that others wrote, in functions only.
READS = {
    "expkit-mlflow": {"expkit_bookkeeping.reading"},
    "expkit-plotting": {"expkit_bookkeeping.reading", "expkit_hydra.reading"},
}


def name(path: Path) -> str:
    return path.name


def project(package: Path) -> dict[str, object]:
    return tomllib.loads((package / "pyproject.toml").read_text())["project"]


def imported(source: Path) -> set[str]:
    """Top-level names of all modules that a file imports, anywhere in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add((node.module or "").partition(".")[0])
    return modules


def test_the_meta_package_pins_the_version_of_each_of_the_nine():
    pins = dict(
        re.match(r"(expkit-\w+)(?:\[[\w,]+\])?==([\d.]+)$", requirement).groups()
        for requirement in project(REPOSITORY / "packages" / "expkit")["dependencies"]
        if requirement.startswith("expkit-")
    )

    assert pins == {package.name: project(package)["version"] for package in LEAVES}


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_a_package_has_the_license_and_a_changelog_with_its_version(package):
    assert (package / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    assert f"\n## {project(package)['version']}" in (package / "CHANGELOG.md").read_text()
    assert (package / "src" / package.name.replace("-", "_") / "py.typed").exists()


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_a_package_says_for_which_systems_it_is_made(package):
    systems = [line for line in project(package)["classifiers"] if line.startswith("Operating")]

    assert systems == ["Operating System :: MacOS", "Operating System :: POSIX :: Linux"]


def siblings(package: Path) -> Iterator[tuple[str, bool]]:
    """Modules of other packages that a package imports, and whether a function does."""
    own = package.name.replace("-", "_")
    for source in package.glob("src/**/*.py"):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        inside = {id(node) for function in functions for node in ast.walk(function)}
        for_types = {
            id(node)
            for block in tree.body
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for module in modules:
                if module.startswith("expkit") and module.partition(".")[0] != own:
                    yield module, id(node) in inside | for_types


@pytest.mark.parametrize("package", LEAVES, ids=name)
def test_arrows_between_packages_follow_the_one_chain(package):
    module = package.name.replace("-", "_")
    below = CHAIN[: CHAIN.index(module)] if module in CHAIN else ()

    others = {
        sibling: in_function
        for sibling, in_function in siblings(package)
        if sibling.partition(".")[0] not in below
    }

    assert set(others) <= READS.get(package.name, set())
    assert all(others.values())  # installed or not, the package can be imported


@pytest.mark.parametrize("package", LEAVES, ids=name)
def test_what_a_package_can_do_without_is_an_extra_with_the_range_that_its_errors_name(package):
    metadata = project(package)
    required = {name for name in metadata["dependencies"] if name.startswith("expkit-")}
    runs = metadata.get("optional-dependencies", {}).get("runs", [])

    if package.name not in READS:
        assert runs == []
        return
    (source,) = package.glob("src/**/siblings.py")
    assert required == set()
    assert f"\nBOOKKEEPING = {json.dumps(*runs)}\n" in source.read_text()


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_no_package_requires_torch_even_as_an_extra(package):
    metadata = project(package)
    requirements = list(metadata["dependencies"])
    for extra in metadata.get("optional-dependencies", {}).values():
        requirements += extra

    assert not [name for name in requirements if re.match(r"torch\b", name)]


def test_no_package_ships_the_file_that_would_hide_the_plugins_of_others():
    assert list(REPOSITORY.glob("packages/*/src/hydra_plugins/__init__.py")) == []


def test_plugins_for_hydra_have_annotations_that_its_scanner_can_evaluate():
    plugins = list(REPOSITORY.glob("packages/*/src/hydra_plugins/*.py"))

    assert plugins
    assert [plugin for plugin in plugins if "__future__" in imported(plugin)] == []


@pytest.mark.parametrize("package", LEAVES, ids=name)
def test_each_verb_has_a_parser(package):
    entry_points = project(package).get("entry-points", {})
    commands = entry_points.get("expkit.commands", {})

    assert entry_points.get("expkit.parsers", {}) == {
        verb: f"{command}_parser" for verb, command in commands.items()
    }


def test_the_command_knows_which_package_each_verb_comes_with():
    from expkit._verbs import PACKAGES as package_of

    declared = {
        verb: package.name
        for package in LEAVES
        for verb in project(package).get("entry-points", {}).get("expkit.commands", {})
    }

    assert package_of == declared
