"""A run while it is open: metrics, log, progress, heartbeat, timers, sinks, signals, ranks.

Others take `OpenRun`, which holds the parts and the order in which they begin and end, and the
reading of metrics.jsonl. Stands on `_runs` and `_files`, and knows nothing of checkpoints.
"""
