"""What is said about a grid before its first run: the plan that a sweep carries out, and findings.

Others take: `plan_grid` and, for the verb `check`, the findings.
Stands on `_console`, `_running`, `_program`, `_drafting`, `_grid`, `_composing`; writes nothing.
"""
