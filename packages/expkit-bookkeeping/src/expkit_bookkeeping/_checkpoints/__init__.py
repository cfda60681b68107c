"""Checkpoints: collected, copied, written at once or in the background, kept and resumed.

Others take `CheckpointSaver`, `resume`, `find_checkpoints`, the states of single objects and of
random generators. Stands on `_recording`, whose open run it saves, `_runs` and `_files`.
"""
