"""A run's code, configuration and command in a new folder, and what could not be brought back.

Others take `make_reproduction`. Stands on `_console`; nothing here runs code of the experiment.
"""
