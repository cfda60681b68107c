"""The final state of a run, judged by what ended it."""

from .signals import termination_requested


def final_state(
    error: BaseException | None, *, asked_to_stop: bool = False, completed: bool = False
) -> str:
    """The state that run.json gets: completed, failed or interrupted.

    Args:
        error: The error that left the block; None if there was none.
        asked_to_stop: Whether `should_stop()` was true.
        completed: Whether the training said that it was complete.

    >>> final_state(None), final_state(KeyboardInterrupt()), final_state(ValueError())
    ('completed', 'interrupted', 'failed')
    """
    state_when_asked = "completed" if completed else "interrupted"
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return state_when_asked if asked_to_stop else "completed"
    if isinstance(error, KeyboardInterrupt) or termination_requested():
        # After SIGTERM any error may be its echo, such as a DataLoader worker that it killed.
        return state_when_asked
    if isinstance(error, SystemExit) and error.code in (130, 143):
        return state_when_asked
    return "failed"
