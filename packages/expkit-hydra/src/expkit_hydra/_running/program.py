"""The user's program as another process finds it: its script or module, and a function in it.

A function is named and imported again, never pickled: registries and locks at the top level of a
script cannot be pickled, and its resolvers and structured configurations are needed, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from .._composing.errors import GridError
from .._composing.internals import replaced_app

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction

    from .._grid.grid import Grid


class Task(Protocol):
    """The user's function as another process finds it; pickled by the standard library."""

    def load(self, grid: Grid) -> tuple[TaskFunction, Grid]:
        """The function, and the grid with what its files cannot hold.

        Args:
            grid: The grid, as read from its files.
        """


@dataclass(frozen=True)
class TaskReference:
    """The user's function by name, as a fresh interpreter finds it."""

    module: str
    qualname: str
    depth: int = 0  # how many decorators lie above it; hydra.main is one

    @classmethod
    def to(cls, task_function: TaskFunction) -> TaskReference:
        """The reference to a function at the top level of a script or module.

        Raises:
            GridError: If the function cannot be found by its name.
        """
        module = getattr(task_function, "__module__", None) or "?"
        qualname = getattr(task_function, "__qualname__", None) or type(task_function).__qualname__
        for depth, function in enumerate(_unwrapped(module, qualname)):
            if function is task_function:
                return cls(module, qualname, depth)
        raise GridError(
            f"Other processes import the script again, and {qualname!r} is not at the top level "
            f"of {module!r}. Define the function there."
        )

    def load(self, grid: Grid) -> tuple[TaskFunction, Grid]:
        """The function, and the grid as it is; see `Task`."""
        return self.resolve(), grid

    def resolve(self) -> TaskFunction:
        """The function itself, without the wrapper of `hydra.main`."""
        functions = list(_unwrapped(self.module, self.qualname))
        if len(functions) <= self.depth:
            raise GridError(f"{self.qualname!r} is not at the top level of {self.module!r}.")
        return functions[self.depth]  # type: ignore[return-value]


def _unwrapped(module: str, qualname: str) -> Iterator[object]:
    """What a name refers to, then what that wraps, and so on."""
    try:
        value: object = sys.modules.get(module) or import_module(module)
        for part in qualname.split("."):
            value = getattr(value, part)
    except (AttributeError, ImportError):
        return
    yield value
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
        yield value


@dataclass(frozen=True)
class Program:
    """What another process needs in order to call the user's function.

    `script` is the file that was started, `module` its name if `python -m` started it; with
    neither, the function is in an importable module. `directory` and `path` are this process's,
    absolute. `version_base` is the argument of `hydra.main`.
    """

    task: TaskReference
    script: str | None = None
    module: str | None = None
    directory: str = "."
    path: tuple[str, ...] = ()
    version_base: str | None = None

    @classmethod
    def of(cls, task_function: TaskFunction) -> Program:
        """The program that this process runs.

        Raises:
            GridError: If the function cannot be found by its name.
        """
        task = TaskReference.to(task_function)
        script = module = None
        if task.module in ("__main__", "__mp_main__"):
            main = sys.modules["__main__"]
            spec = getattr(main, "__spec__", None)
            file = getattr(main, "__file__", None)
            if spec is not None and spec.name:
                module = spec.name
            elif file is None:
                raise GridError(
                    f"{task.qualname!r} was defined in an interactive session, where no other "
                    "process finds it. Put it into a file."
                )
            else:
                script = os.path.abspath(file)  # noqa: PTH100 - not resolved: links are the user's
        # An empty entry stands for the working directory.
        path = tuple(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100
        return cls(task, script, module, str(Path.cwd()), path, _version_base())

    def to_record(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Program:
        """From the record that `to_record` made."""
        names = ("script", "module", "directory", "version_base")
        fields = {name: record[name] for name in names if name in record}
        task = TaskReference(**record["task"])
        return cls(task=task, path=tuple(record.get("path") or ()), **fields)

    def describe(self) -> dict[str, object]:
        """As a grid's description has it: relative to the working directory if it is below it."""
        script = self.script
        if script is not None and Path(script).is_relative_to(self.directory):
            script = str(Path(script).relative_to(self.directory))
        named = {"script": script} if script else {"module": self.module or self.task.module}
        return {
            **named,
            "function": self.task.qualname,
            "decorators": self.task.depth,
            "version_base": self.version_base,
        }

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> Program:
        """From the description that `describe` made, for a process in the same directory."""
        script, module = description.get("script"), description.get("module")
        task = TaskReference(
            "__main__" if script else str(module),
            str(description["function"]),
            int(description.get("decorators") or 0),
        )
        if script:
            script = os.path.abspath(script)  # noqa: PTH100
        base = description.get("version_base")
        return cls(task, script=script, directory=str(Path.cwd()), version_base=base)

    def load(self) -> TaskFunction:
        """Import the program here, as multiprocessing does in its children, and find the function.

        The script becomes the module `__main__`, but its block `if __name__ == "__main__"` does
        not run.

        Raises:
            GridError: If the program starts its Hydra app all the same, or has no such function.
        """
        from multiprocessing import spawn

        facts: dict[str, object] = {"dir": self.directory, "orig_dir": self.directory}
        if self.path:
            facts["sys_path"] = list(self.path)
        elif self.script is not None:  # as `python SCRIPT` has it
            facts["sys_path"] = [str(Path(self.script).parent), *sys.path]
        if self.script is not None:
            facts["init_main_from_path"] = self.script
            facts["sys_argv"] = [self.script]
        elif self.module is not None:
            facts["init_main_from_name"] = self.module
        if self.version_base is not None:
            from hydra import version

            version.setbase(self.version_base)
        with _no_app():
            spawn.prepare(facts)
        return self.task.resolve()


def describe_task(task_function: TaskFunction) -> dict[str, object] | None:
    """The program of a function as a grid's description has it; None if no process finds it."""
    try:
        return Program.of(task_function).describe()
    except GridError:
        return None


@contextmanager
def _no_app() -> Iterator[None]:
    """Let `hydra.main` refuse to run: otherwise an import might train the base configuration."""

    def refuse(*arguments: object, **options: object) -> None:
        raise GridError(
            "The script starts its Hydra app when it is imported. Other processes import it to "
            'find its function: call main() under `if __name__ == "__main__":`.'
        )

    with replaced_app(refuse):
        yield


def _version_base() -> str | None:
    from hydra import version

    base: Any = version.getbase()
    # A sentinel if nobody has set it.
    return f"{base.major}.{base.minor}" if hasattr(base, "major") else None
