"""One run: claimed, executed here or in a process of its own, and its end recorded.

Others take: `execute_run`, `execute_in_processes`, `job_return`, `take_part`, `Program`,
heartbeats, outputs, exit codes. Stands on `_grid` and `_composing`.
"""
