"""Which asyncio task runs in this thread; asyncio is not imported where nobody uses it."""

from __future__ import annotations

from sys import modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from typing import TypeAlias

    AnyTask: TypeAlias = Task[object]


def running_loop() -> AbstractEventLoop | None:
    """The event loop that runs in this thread; asyncio's own function once asyncio is imported."""
    if "asyncio" not in modules:
        return None
    from asyncio import _get_running_loop

    globals()["running_loop"] = _get_running_loop
    return _get_running_loop()


def current_task() -> AnyTask | None:
    """The task that runs in this thread; None outside of tasks, as in callbacks of a loop."""
    loop = running_loop()
    if loop is None:
        return None
    from asyncio import current_task

    return current_task(loop)
