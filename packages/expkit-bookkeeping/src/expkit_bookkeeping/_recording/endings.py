"""The final state of a run, judged by what ended it."""

from .signals import termination_requested

# Exit codes as a shell reports them: 128 + number of the signal.
INTERRUPTED = 130
TERMINATED = 143


def final_state(
    error: BaseException | None, *, asked_to_stop: bool = False, completed: bool = False
) -> str:
    """The state that run.json gets: completed, failed or interrupted.

    Args:
        error: The error that left the block; None if there was none.
        asked_to_stop: Whether `should_stop()` was true.
        completed: Whether the training said that it was complete.

    Examples:
        >>> final_state(None), final_state(KeyboardInterrupt()), final_state(ValueError())
        ('completed', 'interrupted', 'failed')
    """
    state_when_asked = "completed" if completed else "interrupted"
    code = exit_code(error)
    if error is None or code == 0:
        return state_when_asked if asked_to_stop else "completed"
    if isinstance(error, KeyboardInterrupt) or termination_requested():
        # After SIGTERM any error may be its echo, such as a DataLoader worker that it killed.
        return state_when_asked
    return state_when_asked if code in (INTERRUPTED, TERMINATED) else "failed"


def exit_code(error: BaseException | None) -> int | None:
    """The exit code that a SystemExit asks for, as the interpreter reads it; None for any other.

    Examples:
        >>> [exit_code(SystemExit(code)) for code in (None, 3, "no data", [0])]
        [0, 3, 1, 1]
    """
    if not isinstance(error, SystemExit):
        return None
    if error.code is None:
        return 0
    return int(error.code) if isinstance(error.code, int) else 1
