"""The drain: from the journals of `_journal` to a store of `_store`, only what is missing.

Others may take `sync`, `Synchronizer` and its `SyncReport` for an experiment, `BackgroundDrain` for
a run that is still going, and `follow_grid` for a grid.
"""
