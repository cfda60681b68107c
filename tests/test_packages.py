import ast
import re
import tomllib
from pathlib import Path

import pytest
from workspace import REPOSITORY

LEAVES = sorted(REPOSITORY.glob("packages/expkit-*"))
PACKAGES = [*LEAVES, REPOSITORY / "packages" / "expkit"]
CHAIN = ["expkit_bookkeeping", "expkit_filter", "expkit_hydra", "expkit_slurm"]


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
    )

    assert pins == {package.name: project(package)["version"] for package in LEAVES}


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_a_package_has_the_license_and_a_changelog_with_its_version(package):
    assert (package / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    assert f"\n## {project(package)['version']}" in (package / "CHANGELOG.md").read_text()
    assert (package / "src" / package.name.replace("-", "_") / "py.typed").exists()


@pytest.mark.parametrize("package", LEAVES, ids=name)
def test_arrows_between_packages_follow_the_one_chain(package):
    module = package.name.replace("-", "_")
    allowed = {module, *(CHAIN[: CHAIN.index(module)] if module in CHAIN else ())}

    siblings = {
        name
        for source in package.glob("src/**/*.py")
        for name in imported(source)
        if name.startswith("expkit")
    }

    assert siblings <= allowed


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


def test_the_command_knows_which_package_each_verb_comes_with():
    from expkit._verbs import PACKAGES as package_of

    declared = {
        verb: package.name
        for package in LEAVES
        for verb in project(package).get("entry-points", {}).get("expkit.commands", {})
    }

    assert package_of == declared
