"""A run folder that was deleted by hand and run again: the earlier run is no longer the one."""

from collections.abc import Callable, Collection

from ._drain import JournalDrain
from ._store import FOLDER_TAG, SUPERSEDED_TAG, Store, StoredRun


def remove_superseded(
    store: Store, new: JournalDrain, present: Callable[[], Collection[str]]
) -> int:
    """Marks runs of the same name as deleted, in the store that belongs to the folder alone.

    Args:
        store: The embedded store.
        new: The run that was just created there.
        present: Asks for the ids of the runs that have a journal in the folder.

    Returns:
        How many there were.
    """
    assert new.stored is not None
    namesakes = _namesakes(store, new)
    ids = present() if namesakes else ()
    earlier = [run for run_id, run in namesakes.items() if run_id not in ids]
    for run in earlier:
        store.set_tag(run, SUPERSEDED_TAG, new.stored.id)
        store.remove_run(run, "its folder is gone and another run has the name")
    return len(earlier)


def tag_superseded(store: Store, new: JournalDrain) -> int:
    """Tags runs that came from the same folder, in a store that other people may use too.

    Another machine may have a folder of this path, so nothing is deleted.
    """
    assert new.stored is not None
    folder = new.stored.tags.get(FOLDER_TAG)
    if folder is None:
        return 0
    earlier = [run for run in _namesakes(store, new).values() if run.tags.get(FOLDER_TAG) == folder]
    for run in earlier:
        store.set_tag(run, SUPERSEDED_TAG, new.stored.id)
    return len(earlier)


def _namesakes(store: Store, new: JournalDrain) -> dict[str, StoredRun]:
    found = store.named(new.experiment, new.run_name)
    return {key: run for key, run in found.items() if key != new.run_id and not run.deleted}
