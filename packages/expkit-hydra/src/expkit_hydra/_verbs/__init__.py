"""What verbs answer about experiments and runs: list, status, show, best, table, compare.

Others take each verb with its parser, `find_experiment`, and what `run_details` says of a run.
Stands on `_console`, `_running` and the wings below; only the faces at the top stand on it.
"""
