"""A run folder at rest: run.json, claims, owners and their liveness, whose a folder is, trash.

Here too: what a run takes from its configuration. Others take `RunRecord`, `find_runs`,
`claim_run`, `RunSettings`. Stands on `_files` and `_provenance`.
"""
