"""From axes to the draft of a grid: which runs there are, and which a rule skips.

Others take: `expand`, `draft_grid`, `ListSweep`, `describe`, and the check of an experiment's id.
Stands on `_grid` and `_composing`; writes nothing.
"""
