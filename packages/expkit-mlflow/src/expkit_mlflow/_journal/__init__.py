"""The journal of a run, tracking.jsonl: its entries, writing and reading it, and who owns it.

Others may take `Journal`, the readers, and the folders in which journals lie; the plain forms of
metrics and configurations; and whether a process is alive. It stands on files and knows no MLflow.
"""
