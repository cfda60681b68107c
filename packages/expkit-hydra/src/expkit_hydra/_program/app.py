"""The user's program, run up to the sweep of its Hydra app."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from .._composing.internals import replaced_multirun
from .main_module import execute_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.types import TaskFunction
    from omegaconf import DictConfig

T = TypeVar("T")


@dataclass(frozen=True)
class StartedApp:
    """A Hydra app that is about to sweep.

    Attributes:
        loader: Hydra's, with the app's search path.
        config_name: The name of its primary configuration.
        overrides: Those of the command line.
        task_function: The user's.
    """

    loader: ConfigLoader
    config_name: str | None
    overrides: Sequence[str]
    task_function: TaskFunction

    def compose(self) -> DictConfig:
        """The configuration of the sweep, as Hydra composes it.

        Raises:
            HydraException: If Hydra refuses it.
        """
        from hydra.types import RunMode

        return self.loader.load_configuration(
            config_name=self.config_name, overrides=list(self.overrides), run_mode=RunMode.MULTIRUN
        )


class _AppHasEnded(BaseException):
    """Leaves the program; no exception, which it might catch."""


class _Examination(Generic[T]):
    """Stands in the place of Hydra's sweep, once."""

    def __init__(self, examine: Callable[[StartedApp], T]) -> None:
        self._examine = examine
        self.results: list[T] = []
        self.errors: list[BaseException] = []

    def replacement(self) -> Callable[..., Any]:
        """What Hydra calls, as a method."""

        def multirun(
            hydra: Any,
            config_name: str | None,
            task_function: TaskFunction,
            overrides: list[str],
            **_: object,
        ) -> None:
            app = StartedApp(hydra.config_loader, config_name, overrides, task_function)
            try:
                self.results.append(self._examine(app))
            except BaseException as error:
                self.errors.append(error)
            raise _AppHasEnded

        return multirun


def run_to_sweep(
    script: str | None,
    module: str | None,
    arguments: Sequence[str],
    examine: Callable[[StartedApp], T],
) -> T | None:
    """Run a program as the processes of a grid run it: up to the call of its app.

    This process belongs to the program from then on: its `__main__`, search path and arguments.

    Args:
        script: The script.
        module: Or the module's name, as `python -m` takes it.
        arguments: Those of the program, without `-m`.
        examine: Is called in the place of the sweep; nothing of the program is executed after it.

    Returns:
        What it returned; None if the program has ended without calling its app.
    """
    sys.path.insert(0, str(Path.cwd() if script is None else Path(script).absolute().parent))
    sys.argv[:] = [script or str(module), "--multirun", *arguments]
    examination = _Examination(examine)
    with replaced_multirun(examination.replacement()), suppress(_AppHasEnded):
        execute_main(script, module)
    if examination.errors:
        raise examination.errors[0]
    return examination.results[0] if examination.results else None
