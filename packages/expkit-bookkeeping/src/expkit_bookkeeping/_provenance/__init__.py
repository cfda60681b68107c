"""What a run records of where it came from: code, uncommitted changes, environment, configuration.

Others take `code_facts`, `record_code`, `environment_facts`, `config_hash`. Stands on `_files`.
"""
