"""An MLflow store: its URI, its client, its SQLite file, its limits, and the lock of its writer.

Others may take `Store`, `open_store`, `one_writer`, `TrackingError`, and texts without secrets.
Only this wing talks to MLflow. Of `_journal` it takes only whether a process is alive.
"""
