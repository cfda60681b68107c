"""The structure of the packages, read from their sources: arrows, wings and idioms."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from workspace import REPOSITORY

PACKAGES = sorted(
    folder
    for folder in REPOSITORY.glob("packages/expkit*/src/expkit*")
    if (folder / "__init__.py").exists()
)
LAZY = [
    path for folder in PACKAGES for path in folder.glob("*.py") if "_MODULES" in path.read_text()
]
WINGS = [
    wing for folder in PACKAGES for wing in folder.glob("_*/") if (wing / "__init__.py").exists()
]
MOST_ROOMS = 12  # in one wing; about ten are easy to keep in sight
# Private parts of Hydra and OmegaConf: only this module knows them.
INTERNALS = "expkit_hydra._composing.internals"
# What distributions bring, where that is not a module of their name alone.
MODULES = {
    "PyYAML": {"yaml"},
    "hydra-core": {"hydra"},
    "mlflow-skinny": {"mlflow", "requests", "yaml"},
}
# Imported only where an object of that package is at hand, or after an import that says so.
IN_HAND = {
    ("_arguments.py", "omegaconf"),  # of expkit-registry
    ("rendering.py", "markupsafe"),  # comes with Jinja2
    ("_datasets.py", "torch"), ("_loaders.py", "torch"), ("_states.py", "torch"),
    ("_states.py", "numpy"),
}  # fmt: skip
# Below all wings, where a package has it: what not everybody installs.
OPTIONAL = "_optional"
PRIVATE_MODULES = ("hydra._internal", "omegaconf._")
PRIVATE_ATTRIBUTES = {"_content", "_dereference_node", "_is_interpolation", "_resolvers"}


def name(path: Path) -> str:
    return "/".join(path.parts[path.parts.index("src") + 1 :])


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def arrows(package: Path) -> dict[str, set[str]]:
    """By module of the package: the package's modules that it imports, anywhere in its code."""
    modules = {module_name(path, package): path for path in package.rglob("*.py")}
    return {
        module: {target for target in imports(module, path, modules) if target != module}
        for module, path in modules.items()
    }


def imports(module: str, path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.ImportFrom):
            continue
        source = node.module or ""
        if node.level:
            parents = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            parents = parents[: len(parents) - node.level + 1]
            source = ".".join([*parents, *filter(None, [node.module])])
        for alias in node.names:
            inner = f"{source}.{alias.name}"
            if inner in modules:
                yield inner
            elif source in modules:
                yield source


def wing(module: str) -> str | None:
    """The wing of a module; None for one at the top of its package."""
    parts = module.split(".")
    return parts[1] if len(parts) > 2 and parts[1].startswith("_") else None


def circle(graph: dict[str, set[str]]) -> list[str]:
    """What is left when everything that leads nowhere is taken away, again and again."""
    left = {node: set(targets) for node, targets in graph.items()}
    while leaves := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in leaves:
            del left[node]
    while starts := left.keys() - {target for targets in left.values() for target in targets}:
        for node in starts:
            del left[node]
    return sorted(left)


def is_type_checking(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_no_modules_import_each_other_in_a_circle(package):
    assert circle(arrows(package)) == []


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_arrows_between_wings_run_one_way_and_never_up_to_a_face(package):
    graph: dict[str, set[str]] = {}
    upwards = []
    for module, targets in arrows(package).items():
        if wing(module) is None:
            continue
        graph.setdefault(wing(module), set())
        for target in targets:
            if wing(target) is None and target not in (package.name, f"{package.name}.{OPTIONAL}"):
                upwards.append(f"{module} imports {target}")
            elif wing(target) not in (None, wing(module)):
                graph[wing(module)].add(wing(target))

    assert circle(graph) == []
    assert upwards == []


@pytest.mark.parametrize("wing", WINGS, ids=name)
def test_a_wing_says_what_lives_in_it_and_has_few_rooms(wing):
    (docstring,) = tree(wing / "__init__.py").body  # nothing else stands there

    assert len(ast.get_docstring(tree(wing / "__init__.py")).splitlines()) <= 5
    assert isinstance(docstring, ast.Expr)
    assert len(list(wing.glob("*.py"))) - 1 <= MOST_ROOMS


@pytest.mark.parametrize("path", LAZY, ids=name)
def test_a_lazy_module_lists_each_public_name_where_it_comes_from(path):
    body = tree(path).body
    declared = {
        alias.asname: statement.module
        for block in body
        if is_type_checking(block)
        for statement in block.body
        for alias in statement.names
    }
    tables = {
        statement.targets[0].id: statement.value
        for statement in body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }
    modules = ast.literal_eval(tables["_MODULES"])

    assert modules == declared
    assert list(modules) == sorted(modules)
    assert ast.unparse(tables["__all__"]) == "[*_MODULES]"


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_a_module_that_needs_names_for_types_only_does_not_import_typing_for_it(package):
    sources = [*package.rglob("*.py"), *package.parent.glob("hydra_plugins/*.py")]

    assert [
        name(path)
        for path in sources
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom)
        and node.module == "typing"
        and any(alias.name == "TYPE_CHECKING" for alias in node.names)
    ] == []


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_no_signature_holds_the_environment_which_help_would_print(package):
    for path in package.rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.arguments):
                defaults = [default for default in [*node.defaults, *node.kw_defaults] if default]
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                defaults = [node.value]  # a field of a dataclass
            else:
                continue
            assert not [text for text in map(ast.unparse, defaults) if "os.environ" in text], path


def installed_with(package: Path) -> set[str]:
    """Top-level modules that pip brings with a package, on every system."""
    modules = {package.name}
    metadata = tomllib.loads((package.parents[1] / "pyproject.toml").read_text())
    for requirement in metadata["project"]["dependencies"]:
        distribution = re.match(r"[\w-]+", requirement)[0]
        sibling = REPOSITORY / "packages" / distribution / "src" / distribution.replace("-", "_")
        if sibling.exists():
            modules |= installed_with(sibling)
        elif ";" not in requirement:
            modules |= MODULES.get(distribution, {distribution})
    return modules


def says_what_to_install(block: ast.AST) -> bool:
    """Whether a block does without what it fails to import, or names it."""
    if isinstance(block, ast.With):
        texts = [ast.unparse(item) for item in block.items]
        return any("reader_of_" in text or "suppress(ImportError" in text for text in texts)
    return isinstance(block, ast.Try) and any(
        "ImportError" in ast.unparse(handler.type) for handler in block.handlers if handler.type
    )


@pytest.mark.parametrize("package", PACKAGES, ids=name)
def test_what_may_be_missing_is_imported_where_its_lack_is_said(package):
    installed = installed_with(package) | sys.stdlib_module_names
    bare = []
    for path in package.rglob("*.py"):
        excepted = {
            id(node)
            for block in ast.walk(tree(path))
            if says_what_to_install(block) or is_type_checking(block)
            for node in ast.walk(block)
        }
        for node in ast.walk(tree(path)):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            for module in modules:
                package_name = module.partition(".")[0]
                in_hand = (path.name, package_name) in IN_HAND
                if not (id(node) in excepted or in_hand or package_name in installed):
                    bare.append(f"{name(path)}:{node.lineno} imports {module}")

    assert bare == []


def test_private_parts_of_hydra_and_omegaconf_are_known_to_one_module():
    package = REPOSITORY / "packages" / "expkit-hydra" / "src" / "expkit_hydra"
    others = [
        path
        for folder in PACKAGES
        for path in folder.rglob("*.py")
        if module_name(path, folder) != INTERNALS
    ]

    users = set()
    for path in others:
        for node in ast.walk(tree(path)):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute) and node.attr in PRIVATE_ATTRIBUTES:
                users.add(name(path))
            if any(module.startswith(PRIVATE_MODULES) for module in modules):
                users.add(name(path))

    assert (package / "_composing" / "internals.py").exists()
    assert users == set()
