"""What comes out: rows and tables of an experiment; results, encoders and summary of a run.

The faces take its functions; no other wing does. Stands on `_checkpoints` (states, random states),
`_recording` (metrics), `_runs` and `_files`.
"""
