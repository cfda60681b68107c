"""One run: claimed, executed here or in a process of its own, and its end recorded.

Others take: `execute_run`, `execute_in_processes`, `job_return`, `take_part`, heartbeats, outputs,
exit codes. Stands on `_program`, `_grid` and `_composing`.
"""
