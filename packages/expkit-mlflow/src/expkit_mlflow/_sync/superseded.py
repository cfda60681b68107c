"""Superseded runs: earlier runs whose folder was deleted by hand, and which were run again."""

from collections.abc import Callable, Collection

from .._store.client import Store
from .._store.entities import FOLDER_TAG, SUPERSEDED_TAG, StoredRun
from .drain import JournalDrain


def remove_superseded(
    store: Store, new: JournalDrain, present: Callable[[], Collection[str]]
) -> int:
    """Marks earlier runs of the same name as deleted, in the store of this folder alone.

    Args:
        store: The embedded store.
        new: The drain of the run that was just created there.
        present: Returns the ids of the runs that have a journal in the folder.

    Returns:
        How many runs were superseded.
    """
    assert new.stored is not None
    namesakes = _namesakes(store, new)
    ids = present() if namesakes else ()
    earlier = [run for run_id, run in namesakes.items() if run_id not in ids]
    for run in earlier:
        store.set_tag(run, SUPERSEDED_TAG, new.stored.id)
        store.remove_run(run, "its folder is gone, and another run has the name")
    return len(earlier)


def tag_superseded(store: Store, new: JournalDrain) -> int:
    """Tags earlier runs from the same folder, in a store that others may share.

    Another machine may have a folder with this path, so nothing is deleted.

    Returns:
        How many runs were superseded.
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
    runs = store.runs_named(new.experiment, new.run_name)
    return {key: run for key, run in runs.items() if key != new.run_id and not run.deleted}
