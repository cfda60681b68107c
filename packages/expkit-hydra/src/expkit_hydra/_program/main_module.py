"""The user's `__main__`: who calls a Hydra app in it, its code around that call, and it once more.

Another process runs the file or module that the user has started again, as `__main__`, up to the
call of its app. So everything that the program sets up before is there: classes under their own
names, globals, resolvers, variables of the environment.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

_APP_MODULE = "hydra.main"
_WRAPPERS = ("hydra", "hydra_zen")  # packages that may stand between the user's call and the app


@dataclass(frozen=True)
class AppCall:
    """The call of a Hydra app that this process is in.

    Attributes:
        task_function: What `hydra.main` decorates.
        main: The frame of the module that was started.
        is_direct: Whether the module's own code, or a function of it, calls the app.
        is_at_top: Whether the module's own code does, outside any function.
    """

    task_function: Any
    main: FrameType
    is_direct: bool
    is_at_top: bool

    @classmethod
    def current(cls) -> AppCall | None:
        """The call that this process is in; None outside an app, or in an interactive session."""
        caller: FrameType | None = sys._getframe()
        while caller is not None and caller.f_globals.get("__name__") != _APP_MODULE:
            caller = caller.f_back
        if caller is None:
            return None
        task_function = caller.f_locals.get("task_function")
        while caller is not None and _package(caller) in _WRAPPERS:
            caller = caller.f_back
        main = caller
        # Not `sys.modules["__main__"]`, which under a profiler is the profiler.
        while main is not None and not _is_main(main):
            main = main.f_back
        if caller is None or main is None:
            return None
        return cls(task_function, main, caller.f_globals is main.f_globals, caller is main)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _is_main(frame: FrameType) -> bool:
    return frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__"


@dataclass(frozen=True)
class Surroundings:
    """The code around the statement of `__main__` that calls the app.

    Attributes:
        block: First and last line of the outermost statement that holds the call.
        is_bare: Whether this is `if __name__ == "__main__": main()` and nothing else.
        loop: The line of a loop around the call.
        later: Lines after the call that read variables of the module.
    """

    block: tuple[int, int]
    is_bare: bool = False
    loop: int | None = None
    later: tuple[int, int] | None = None


def surroundings(source: str | bytes, line: int) -> Surroundings:
    r"""What stands around the call in this line of a module.

    Examples:
        >>> surroundings("import a\nif __name__ == '__main__':\n    x = 1\n    main()\n", 4)
        Surroundings(block=(2, 4), is_bare=False, loop=None, later=None)
    """
    tree = ast.parse(source)
    variables = _variables(tree)
    body, is_bare, loop = tree.body, True, None
    block = (line, line)
    later: list[ast.stmt] = []
    while True:
        around = [statement for statement in body if statement.lineno <= line <= _end(statement)]
        if not around:
            break
        statement = around[0]
        position = body.index(statement)
        later += body[position + 1 :]
        if body is tree.body:
            block = (statement.lineno, _end(statement))
        elif position > 0:
            is_bare = False
        if isinstance(statement, ast.For | ast.While):
            loop = statement.lineno
        parts = list(_bodies(statement))
        inner = [part for part in parts if part and part[0].lineno <= line <= _end(part[-1])]
        if not inner:
            break
        is_bare = is_bare and isinstance(statement, ast.If)
        body = inner[0]
        if isinstance(statement, ast.Try):
            later += [one for part in parts[1:] if part is not body for one in part]
    reading = [statement for statement in later if variables & _names_read(statement)]
    lines = None
    if reading:
        lines = (min(one.lineno for one in reading), max(_end(one) for one in reading))
    return Surroundings(block, is_bare, loop, lines)


def _end(statement: ast.stmt) -> int:
    return statement.end_lineno or statement.lineno


def _bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The lists of statements within one that is no definition."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    yield getattr(statement, "body", [])
    for handler in getattr(statement, "handlers", []):
        yield handler.body
    yield getattr(statement, "orelse", [])
    yield getattr(statement, "finalbody", [])


def _variables(tree: ast.Module) -> set[str]:
    """Names to which a module assigns something else than what it imports or defines."""
    names: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            names |= {
                name
                for inner in ast.walk(node)
                if isinstance(inner, ast.Global)
                for name in inner.names
            }
            continue
        waiting += ast.iter_child_nodes(node)
    return names


def _names_read(statement: ast.stmt) -> set[str]:
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def main_source(namespace: Mapping[str, object]) -> tuple[str | None, str | None]:
    """The script and the module's name that a `__main__` comes from; one of them is None.

    Both are None in an interactive session.
    """
    name = getattr(namespace.get("__spec__"), "name", None)
    if name and name != "__main__":  # so called in a folder or an archive that was started
        return None, str(name)
    file = str(namespace.get("__file__"))
    return (file if Path(file).is_file() else None), None  # `<stdin>` is none


def execute_main(script: str | None, module: str | None, *, without_block: bool = False) -> None:
    """Execute a script or a module as `__main__`.

    Args:
        script: The script's path.
        module: Or the module's name, as `python -m` takes it.
        without_block: Whether to leave out `if __name__ == "__main__":`.
    """
    main, path = _empty_main(script, module)
    code: CodeType
    source = Path(path).read_bytes()
    if without_block:
        tree = ast.parse(source, path)
        tree.body = [statement for statement in tree.body if not _is_block(statement)]
        code = compile(tree, path, "exec")
    else:
        code = compile(source, path, "exec")
    # The second name is how multiprocessing finds classes that its spawned workers send back.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    exec(code, vars(main))


def _empty_main(script: str | None, module: str | None) -> tuple[ModuleType, str]:
    main = ModuleType("__main__")
    if module is None:
        path = str(script)
        main.__loader__ = SourceFileLoader("__main__", path)
        main.__package__ = None
    else:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        path = spec.origin
        main.__loader__, main.__spec__, main.__package__ = spec.loader, spec, spec.parent
    main.__file__ = path
    return main, path


def _is_block(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.If) or not isinstance(statement.test, ast.Compare):
        return False
    sides = [statement.test.left, *statement.test.comparators]
    names = {node.id for node in sides if isinstance(node, ast.Name)}
    return "__name__" in names and any(
        isinstance(node, ast.Constant) and node.value == "__main__" for node in sides
    )
