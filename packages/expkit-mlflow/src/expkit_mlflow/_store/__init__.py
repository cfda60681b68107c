"""An MLflow store: its client, its SQLite file, its limits, and the lock of its writer.

Others may take `Store`, `open_store`, `one_writer`, and what a store holds. Only this wing talks to
MLflow. It takes addresses and errors of `_addresses`, and of `_journal` whether a process is alive.
"""
