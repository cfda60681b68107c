"""The user's program as another process finds it: its script or module, and a function in it.

A program is started again and a function found in it, never pickled: registries and locks at the
top level of a script cannot be pickled, and its resolvers and structured configurations are needed,
too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from .._composing.errors import GridError
from .._composing.internals import current_app, replaced_app
from .main_module import AppCall, execute_main, main_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.types import TaskFunction
    from omegaconf import DictConfig

    from .._grid.grid import Grid

T = TypeVar("T")


class Task(Protocol):
    """The user's function as another process finds it; pickled by the standard library."""

    def run(self, grid: Grid, execute: Callable[[TaskFunction, Grid], T]) -> T:
        """Find the function, and execute something with it where its app would be.

        Args:
            grid: The grid, as read from its files.
            execute: Is given the function, and the grid with what its files cannot hold.

        Returns:
            What `execute` returned.
        """


def user_function(task_function: object) -> Any:
    """The user's function or class behind what `hydra.main` was given.

    Examples:
        >>> from functools import partial
        >>> user_function(partial(print, 1))
        <built-in function print>
    """
    function: Any = task_function
    while True:
        # Of decorators; of functools.partial and hydra-zen's Zen; of bound methods.
        for name in ("__wrapped__", "func", "__func__"):
            inner = getattr(function, name, None)
            if callable(inner):
                function = inner
                break
        else:
            return function if hasattr(function, "__qualname__") else type(function)


@dataclass(frozen=True)
class TaskReference:
    """The user's function by name.

    Attributes:
        module: Its module.
        qualname: Its name there.
        depth: How many decorators lie above it, `hydra.main` is one; None for a function that is
            not found by its name.
    """

    module: str
    qualname: str
    depth: int | None = 0

    @classmethod
    def to(cls, task_function: TaskFunction) -> TaskReference:
        """The reference to a function."""
        function = user_function(task_function)
        module = getattr(function, "__module__", None) or "?"
        qualname = function.__qualname__
        for depth, wrapped in enumerate(_unwrapped(module, qualname)):
            if wrapped is task_function:
                return cls(module, qualname, depth)
        return cls(module, qualname, None)

    def require_importable(self) -> None:
        """Refuse a function that is not found by its name.

        Raises:
            GridError: If it is not.
        """
        if self.depth is None:
            raise GridError(
                f"Other processes import the function by its name, and {self.qualname!r} is not "
                f"at the top level of {self.module!r}. Define the function there."
            )

    def resolve(self) -> TaskFunction:
        """The function itself, without the wrapper of `hydra.main`."""
        self.require_importable()
        functions = list(_unwrapped(self.module, self.qualname))
        if self.depth is None or len(functions) <= self.depth:
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

    Attributes:
        task: The function.
        script: The file that was started; None for a module.
        module: The name of the module that `python -m` started; with neither, the function is in
            an importable module, and nothing else is executed.
        started: Whether it is started again, and the function is what it calls a Hydra app with.
            Otherwise it is imported without `if __name__ == "__main__":`, and the function is
            found by its name.
        argv: The program and the arguments that it was started with.
        options: Those of the interpreter.
        directory: The working directory, absolute.
        path: Where modules are found, absolute.
        version_base: The argument of `hydra.main`.
    """

    task: TaskReference
    script: str | None = None
    module: str | None = None
    started: bool = False
    argv: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    directory: str = "."
    path: tuple[str, ...] = field(default=(), repr=False)
    version_base: str | None = None

    @classmethod
    def of(cls, task_function: TaskFunction) -> Program:
        """The program that this process runs.

        Raises:
            GridError: If no other process finds the function.
        """
        task = TaskReference.to(task_function)
        is_main = task.module in ("__main__", "__mp_main__")
        call = AppCall.current()
        started = call is not None and (call.is_direct or is_main)
        script = module = None
        if call is not None and started:
            script, module = main_source(call.main.f_globals)
        elif is_main:
            script, module = main_source(vars(sys.modules["__main__"]))
        if script is None and module is None:
            if is_main:
                raise GridError(
                    f"{task.qualname!r} was defined in an interactive session, where no other "
                    "process finds it. Put it into a file."
                )
            started = False
        if not started:
            task.require_importable()
        # Links stay: they are the user's. An empty entry stands for the working directory.
        from expkit_bookkeeping.launching import split_arguments, typed_arguments

        here = Path.cwd()
        script = None if script is None else str(here / script)
        path = tuple(str(here / entry) for entry in sys.path)
        # The program may have changed sys.argv since.
        _, _, arguments = split_arguments(typed_arguments() or ["", *sys.argv[1:]])
        return cls(
            task,
            script,
            module,
            started,
            argv=(sys.argv[0], *arguments),
            options=tuple(interpreter_options()),
            directory=str(here),
            path=path,
            version_base=_version_base(),
        )

    def imported(self) -> Program:
        """The same, imported instead of started.

        Raises:
            GridError: If the function is not found by its name.
        """
        self.task.require_importable()
        if self.task.module == "__main__":
            return replace(self, started=False)
        return replace(self, started=False, script=None, module=None)

    def to_record(self) -> dict[str, object]:
        """As JSON holds it: secrets among the arguments stay here."""
        return asdict(replace(self, argv=_public(self.argv)))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Program:
        """From the record that `to_record` made."""
        names = ("script", "module", "started", "directory", "version_base")
        fields = {name: record[name] for name in names if name in record}
        return cls(
            task=TaskReference(**record["task"]),
            argv=tuple(record.get("argv") or ()),
            options=tuple(record.get("options") or ()),
            path=tuple(record.get("path") or ()),
            **fields,
        )

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
            "started": self.started,
            "version_base": self.version_base,
        }

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> Program | None:
        """The program of a grid, for a process in the same directory; None if it has none.

        Args:
            description: That of the grid, with what `describe` made as its `task`.
        """
        from expkit_bookkeeping.launching import split_arguments

        record = description.get("task")
        if record is None:
            return None
        options, program, arguments = split_arguments(description.get("command") or [])
        script, module = record.get("script"), record.get("module")
        depth = record.get("decorators", 0)
        task = TaskReference(
            "__main__" if script else str(module),
            str(record["function"]),
            None if depth is None else int(depth),
        )
        if script:
            script = os.path.abspath(script)  # noqa: PTH100
        started = bool(record.get("started"))
        return cls(
            task,
            script=script,
            module=module if started else None,
            started=started,
            argv=(*program[-1:], *arguments),
            options=tuple(options),
            directory=str(Path.cwd()),
            version_base=record.get("version_base"),
        )

    def run(self, grid: Grid, execute: Callable[[TaskFunction, Grid], T]) -> T:
        """Run the program here, with this in the place of its app; see `Task` and `start`."""
        return self.start(lambda task_function: execute(task_function, grid))

    def start(self, execute: Callable[[TaskFunction], T]) -> T:
        """Run the program here as it was run before, with this in the place of its Hydra app.

        The process belongs to the program from then on: its `__main__`, working directory, search
        path and arguments.

        Args:
            execute: Is given the user's function, as the app would be. What comes after the app in
                the program is not executed.

        Returns:
            What `execute` returned.

        Raises:
            GridError: If the program does not call its app, or has no such function.
        """
        self._take_over()
        if not self.started:
            with replaced_app(_refuse):
                if self.script is not None or self.module is not None:
                    execute_main(self.script, self.module, without_block=True)
                task_function = self.task.resolve()
            return execute(task_function)
        call = _ReplacedApp(self, execute)
        try:
            with replaced_app(call):
                execute_main(self.script, self.module)
        except _AppHasEnded:
            pass
        return call.result()

    def _take_over(self) -> None:
        os.chdir(self.directory)
        if self.path:
            sys.path[:] = self.path
        elif self.script is not None:  # as `python SCRIPT` has it
            sys.path.insert(0, str(Path(self.script).parent))
        sys.argv[:] = self.argv or [self.script or sys.argv[0]]  # version 0.1.0 kept none
        if self.version_base is not None:
            from hydra import version

            version.setbase(self.version_base)

    def as_the_app_found_it(self) -> None:
        """Undo what the program has changed twice: before this process was made, and in it."""
        os.chdir(self.directory)
        if self.path:
            sys.path[:] = self.path


class _AppHasEnded(BaseException):
    """Leaves a program whose app was replaced; no exception, which a program might catch."""


class _ReplacedApp(Generic[T]):
    """Is called instead of an app, and executes something in its place, once."""

    def __init__(self, program: Program, execute: Callable[[TaskFunction], T]) -> None:
        self._program = program
        self._execute = execute
        self._app = current_app()
        self._results: list[T] = []
        self._errors: list[BaseException] = []

    def __call__(self, *arguments: object, **options: Any) -> None:
        task = self._program.task
        task_function = options["task_function"]
        if user_function(task_function).__qualname__ != task.qualname:
            return  # another app of the same program
        if not self._results and not self._errors:
            self._program.as_the_app_found_it()
            with replaced_app(self._app):  # the function may have an app of its own
                try:
                    self._results.append(self._execute(task_function))
                except BaseException as error:
                    self._errors.append(error)
        raise _AppHasEnded

    def result(self) -> T:
        """What was executed returned, or what it raised."""
        if self._errors:
            raise self._errors[0]
        if not self._results:
            program = self._program
            name = program.script or program.module
            raise GridError(
                f"{name} has ended before it started its Hydra app with {program.task.qualname!r}. "
                "Other processes start it again with the same arguments."
            )
        return self._results[0]


def name_job(config: DictConfig) -> None:
    """Name Hydra's job for the user's function where it was named for a library that wraps it.

    Hydra takes the module of what `hydra.main` decorates: a `functools.partial` is called
    `functools`, and all tasks of hydra-zen `_implementations`.

    Args:
        config: A configuration with Hydra's node, which is changed.
    """
    from hydra.core.utils import JobRuntime
    from omegaconf import read_write

    call = AppCall.current()
    if call is None or call.task_function is None:
        return
    decorated = call.task_function
    while hasattr(decorated, "__wrapped__"):
        decorated = decorated.__wrapped__
    wrapper, module = decorated.__module__, user_function(decorated).__module__
    # Another name is the user's, from `hydra.job.name`.
    if wrapper == module or config.hydra.job.name != wrapper.rpartition(".")[2]:
        return
    if module == "__main__":
        name = Path(str(call.main.f_globals.get("__file__", wrapper))).stem
    else:
        name = module.rpartition(".")[2]
    JobRuntime.instance().set("name", name)  # for the configurations of a sweep's runs
    with read_write(config):
        config.hydra.job.name = name


def interpreter_options() -> list[str]:
    """The options of this interpreter, such as `-O` or `-X utf8`."""
    options: list[str] = getattr(subprocess, "_args_from_interpreter_flags")()  # noqa: B009
    return options


def describe_task(task_function: TaskFunction) -> dict[str, object] | None:
    """The program of a function as a grid's description has it; None if no process finds it."""
    try:
        return Program.of(task_function).describe()
    except GridError:
        return None


def _refuse(*arguments: object, **options: object) -> None:
    """Refuse to run an app: otherwise an import might train the base configuration."""
    raise GridError(
        "The script starts its Hydra app when it is imported. Other processes import it to "
        'find its function: call main() under `if __name__ == "__main__":`.'
    )


def _public(argv: Sequence[str]) -> tuple[str, ...]:
    from expkit_bookkeeping.launching import public_override, without_known_secrets

    return tuple(public_override(without_known_secrets(text)) for text in argv)


def _version_base() -> str | None:
    from hydra import version

    base: Any = version.getbase()
    # A sentinel if nobody has set it.
    return f"{base.major}.{base.minor}" if hasattr(base, "major") else None
