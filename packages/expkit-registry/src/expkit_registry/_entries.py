"""What a registry holds: objects, and places of objects that have not been imported yet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType


class LazyEntry(NamedTuple):
    """The place of an object that is imported at first use."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"

    @classmethod
    def parse(cls, text: str) -> LazyEntry:
        """Read `"pkg.module:attr"`; nothing is imported.

        Raises:
            ValueError: If the text is anything else, such as a relative module.

        Examples:
            >>> LazyEntry.parse("torch.optim:SGD").attribute
            'SGD'
        """
        module, colon, attribute = text.partition(":")
        parts = [*module.split("."), *attribute.split(".")]
        if not colon or not all(part.isidentifier() for part in parts):
            raise ValueError(
                f"{text!r} is not the place of an entry: write 'package.module:attribute'"
            )
        return cls(module, attribute)

    def imported_object(self) -> object:
        """The object if its module is already imported, else None; nothing is imported."""
        value: object = sys.modules.get(self.module)
        for part in self.attribute.split("."):
            value = getattr(value, part, None)
        return value

    def load(self) -> object:
        """Import the module and get the attribute; exceptions are not wrapped."""
        value: object = import_module(self.module)
        for part in self.attribute.split("."):
            value = getattr(value, part)
        return value


Entry = Callable[..., object] | LazyEntry
MAIN = frozenset(["__main__", "__mp_main__"])  # a script's module, here and in spawned processes


def is_same(old: Entry, new: Entry) -> bool:
    """Whether `new` is `old` again, from a module that was executed a second time.

    Hydra executes plugin modules at each discovery, a script is `__main__` and may also be
    imported by name, and notebook cells are run again: two objects with one definition.
    """
    if old is new or old == new:
        return True
    for lazy, other in ((old, new), (new, old)):
        # A package may export what one of its modules defines: then the places differ.
        if (
            isinstance(lazy, LazyEntry)
            and not isinstance(other, LazyEntry)
            and lazy.imported_object() is other
        ):
            return True
    if isinstance(old, partial) and isinstance(new, partial):
        return is_same(old.func, new.func) and old.args == new.args and old.keywords == new.keywords
    module, name = _origin(old)
    other_module, other_name = _origin(new)
    if name is None or name != other_name:
        return False
    if "<lambda>" in name:  # all lambdas of a module have the same name
        return location(old) == location(new)
    if module == other_module:
        return True
    in_main = MAIN & {module, other_module}
    return bool(in_main) and _file(old) is not None and _file(old) == _file(new)


def is_same_module(name: str, other: str) -> bool:
    """Whether both names are of one module: a script is `__main__` and may also be imported."""
    if name == other:
        return True
    file = _module_file(name)
    return bool(MAIN & {name, other}) and file is not None and file == _module_file(other)


def location(entry: Entry) -> str:
    """`file:line` of a definition, or its dotted name if Python does not know the file."""
    if isinstance(entry, LazyEntry):
        return str(entry)
    while isinstance(entry, partial):
        entry = entry.func
    file, line = _file(entry), _line(entry)
    if file is None:
        module, name = _origin(entry)
        return f"{module}.{name}" if name else repr(entry)
    return f"{file}:{line}" if line else file


def _origin(entry: Entry) -> tuple[str | None, str | None]:
    """Module and qualified name."""
    if isinstance(entry, LazyEntry):
        return entry.module, entry.attribute
    return getattr(entry, "__module__", None), getattr(entry, "__qualname__", None)


def _file(entry: Entry) -> str | None:
    # A module that Hydra is executing is not in sys.modules yet, so code objects come first.
    for code in _code_objects(entry):
        return code.co_filename
    return _module_file(_origin(entry)[0])


def _module_file(name: str | None) -> str | None:
    return getattr(sys.modules.get(name or ""), "__file__", None)


def _line(entry: Entry) -> int | None:
    if isinstance(entry, type):
        if "__firstlineno__" in entry.__dict__:  # Python 3.13
            return int(entry.__dict__["__firstlineno__"])
        from inspect import getsourcelines

        try:
            return getsourcelines(entry)[1]
        except (OSError, TypeError):
            pass  # the source is not available; the first method's line is close enough
    return min((code.co_firstlineno for code in _code_objects(entry)), default=None)


def _code_objects(entry: object) -> list[CodeType]:
    """The code object of a function, or those of the methods that a class defines itself."""
    functions = (
        [member for member in vars(entry).values() if _is_own(member, entry)]
        if isinstance(entry, type)
        else [entry]
    )
    return [function.__code__ for function in functions if hasattr(function, "__code__")]


def _is_own(member: object, owner: type) -> bool:
    # A class may hold functions from other files: assigned, wrapped by decorators, or generated,
    # as those of a dataclass are.
    code = getattr(member, "__code__", None)
    return (
        getattr(member, "__module__", None) == owner.__module__
        and str(getattr(member, "__qualname__", "")).startswith(f"{owner.__qualname__}.")
        and getattr(code, "co_filename", None) != "<string>"
        and not hasattr(member, "__wrapped__")
    )
