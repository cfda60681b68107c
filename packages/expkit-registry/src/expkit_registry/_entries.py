"""What a registry holds: objects, and places of objects that nobody has asked for yet."""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import CodeType
from typing import NamedTuple


class Lazy(NamedTuple):
    """The place of an object that is imported at first use."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"

    @classmethod
    def parse(cls, text: str) -> "Lazy":
        """Read `"pkg.module:attr"`; importing nothing.

        Raises:
            ValueError: If the text is anything else; a relative module counts as that too.

        >>> Lazy.parse("torch.optim:SGD").attribute
        'SGD'
        """
        module, colon, attribute = text.partition(":")
        parts = [*module.split("."), *attribute.split(".")]
        if not colon or not all(part.isidentifier() for part in parts):
            raise ValueError(
                f"{text!r} is not the place of an entry: write 'package.module:attribute'"
            )
        return cls(module, attribute)

    def loaded(self) -> object:
        """The object where its module is imported already, else None; imports nothing."""
        value: object = sys.modules.get(self.module)
        for part in self.attribute.split("."):
            value = getattr(value, part, None)
        return value

    def load(self) -> object:
        """Import the module and get the attribute; whatever goes wrong there is raised as it is."""
        value: object = import_module(self.module)
        for part in self.attribute.split("."):
            value = getattr(value, part)
        return value


Entry = Callable[..., object] | Lazy
MAIN = frozenset(["__main__", "__mp_main__"])  # a script's module, here and in spawned processes


def is_same(old: Entry, new: Entry) -> bool:
    """Whether `new` is `old` once more, from a module that was executed a second time.

    Hydra executes plugin modules at each discovery, a script is `__main__` and may be imported
    by its name too, and a notebook cell is run again: the objects differ, the definition is one.
    """
    if old is new or old == new:
        return True
    for lazy, other in ((old, new), (new, old)):
        # A package may offer what one of its modules defines: the places differ then.
        if isinstance(lazy, Lazy) and not isinstance(other, Lazy) and lazy.loaded() is other:
            return True
    if isinstance(old, partial) and isinstance(new, partial):
        return is_same(old.func, new.func) and old.args == new.args and old.keywords == new.keywords
    module, name = _origin(old)
    other_module, other_name = _origin(new)
    if name is None or name != other_name:
        return False
    if "<lambda>" in name:  # all lambdas of a module have one name
        return location(old) == location(new)
    if module == other_module:
        return True
    in_main = MAIN & {module, other_module}
    return bool(in_main) and _file(old) is not None and _file(old) == _file(new)


def is_same_module(name: str, other: str) -> bool:
    """Whether both names are of one module: a script is `__main__` and may be imported, too."""
    if name == other:
        return True
    file = _module_file(name)
    return bool(MAIN & {name, other}) and file is not None and file == _module_file(other)


def location(entry: Entry) -> str:
    """`file:line` of a definition, or its dotted name where Python does not know the file."""
    if isinstance(entry, Lazy):
        return str(entry)
    while isinstance(entry, partial):
        entry = entry.func
    file, line = _file(entry), _line(entry)
    if file is None:
        module, name = _origin(entry)
        return f"{module}.{name}" if name else repr(entry)
    return f"{file}:{line}" if line else file


def _origin(entry: Entry) -> tuple[str | None, str | None]:
    if isinstance(entry, Lazy):
        return entry.module, entry.attribute
    return getattr(entry, "__module__", None), getattr(entry, "__qualname__", None)


def _file(entry: Entry) -> str | None:
    # A module that Hydra executes is not in sys.modules yet, so code objects are asked first.
    for code in _codes(entry):
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
            pass  # no source at hand; the first method's line is near enough
    return min((code.co_firstlineno for code in _codes(entry)), default=None)


def _codes(entry: object) -> list[CodeType]:
    """Code objects of a function, or of the methods that a class defines itself."""
    functions = (
        [member for member in vars(entry).values() if _is_own(member, entry)]
        if isinstance(entry, type)
        else [entry]
    )
    return [function.__code__ for function in functions if hasattr(function, "__code__")]


def _is_own(member: object, owner: type) -> bool:
    # A class may hold functions of other files: borrowed, wrapped by decorators, or generated as
    # a dataclass's are.
    code = getattr(member, "__code__", None)
    return (
        getattr(member, "__module__", None) == owner.__module__
        and str(getattr(member, "__qualname__", "")).startswith(f"{owner.__qualname__}.")
        and getattr(code, "co_filename", None) != "<string>"
        and not hasattr(member, "__wrapped__")
    )
