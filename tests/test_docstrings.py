"""What `help()` and a site made from the docstrings say of every public name."""

import ast
import dataclasses
import importlib
import inspect
import logging
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from workspace import REPOSITORY

FOLDERS = sorted(
    path for path in REPOSITORY.glob("packages/*/src/expkit*") if (path / "__init__.py").exists()
)
PUBLIC = [
    *(folder.name for folder in FOLDERS),
    "expkit_bookkeeping.reading",
    "expkit_hydra.reading",
]
SECTION = re.compile(r"^(Args|Attributes|Raises):\n((?:(?: {4}.*)?\n)+)", re.MULTILINE)


class Described(NamedTuple):
    """A public class, or a public function or method, and what a caller gives it."""

    name: str
    target: type | Callable[..., object]
    fields: list[str]
    parameters: list[str]
    function: Callable[..., object] | None


def function_of(member: object) -> Callable[..., object] | None:
    """The function behind a method, a property or a cached one; None for anything else."""
    for name in ("fget", "func", "__func__"):
        member = getattr(member, name, member)
    return member if inspect.isfunction(member) else None


def parameters_of(function: Callable[..., object]) -> list[str]:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.name not in ("self", "cls") and p.kind not in variable]


def is_hook(owner: type, name: str) -> bool:
    """Whether somebody else's base class says what a method is for."""
    bases = [base for base in owner.__mro__[1:] if name in vars(base)]
    return any(not base.__module__.startswith("expkit") for base in bases)


def described_class(name: str, kind: type) -> Described:
    if dataclasses.is_dataclass(kind):
        fields = [field.name for field in dataclasses.fields(kind)]
        return Described(name, kind, [x for x in fields if not x.startswith("_")], [], None)
    init = vars(kind).get("__init__")
    init = None if getattr(kind, "_is_protocol", False) else function_of(init)
    parameters = [] if init is None else parameters_of(init)
    return Described(name, kind, list(getattr(kind, "_fields", ())), parameters, init)


def public_objects(module_name: str) -> Iterator[Described]:
    module = importlib.import_module(module_name)
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if inspect.isfunction(value):
            yield Described(f"{module_name}.{name}", value, [], parameters_of(value), value)
        elif inspect.isclass(value):
            yield described_class(f"{module_name}.{name}", value)
            for attribute, member in vars(value).items():
                function = function_of(member)
                if function is None or attribute.startswith("_") or is_hook(value, attribute):
                    continue
                where = f"{module_name}.{name}.{attribute}"
                yield Described(where, function, [], parameters_of(function), function)


def described_names(docstring: str) -> dict[str, set[str]]:
    """By section the names that it describes."""
    return {
        section: set(re.findall(r"^ {4}\**(\w+):", text, re.MULTILINE))
        for section, text in SECTION.findall(docstring + "\n")
    }


def raised(function: Callable[..., object]) -> set[str]:
    """The exceptions that a function raises in its own code, by class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raising = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    names = {ast.unparse(e.func if isinstance(e, ast.Call) else e) for e in raising}
    return {name for name in names if name[0].isupper()} - {"NotImplementedError"}


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_described_with_what_it_takes_holds_and_raises(module):
    for name, target, fields, parameters, function in public_objects(module):
        assert target.__doc__, name
        sections = described_names(inspect.cleandoc(target.__doc__))
        named = sections.get("Args", set()) | sections.get("Attributes", set())
        assert [field for field in fields if field not in named] == [], name
        if len(parameters) > 1 or "Args" in sections:
            assert [parameter for parameter in parameters if parameter not in named] == [], name
        if function is not None:
            assert raised(function) <= sections.get("Raises", set()), name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_docstrings_render_as_they_are_meant(folder, caplog):
    griffe = pytest.importorskip("griffe")
    package = griffe.load(folder.name, search_paths=[folder.parent], resolve_aliases=False)
    objects = [package]
    bare = []

    with caplog.at_level(logging.WARNING, "griffe"):
        for thing in objects:
            objects += [member for member in thing.members.values() if not member.is_alias]
            if thing.docstring is None:
                continue
            for section in thing.docstring.parse("google"):
                if section.kind is griffe.DocstringSectionKind.text and ">>>" in section.value:
                    bare.append(thing.path)

    assert caplog.messages == []
    assert bare == []  # an example outside its section is shown as prose
