"""What is done with a run that has ended: results added, other runs built on it, how it is shown.

The faces take its functions; no other wing does. Stands on `_results` (results files),
`_checkpoints` (states), `_runs` and `_files`.
"""
