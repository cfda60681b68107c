"""Where curves come from: run folders, tables and dicts become runs and groups of runs.

Others take `read_source`, `warn_of_differences`, and facts (`Run`). `run_folders` asks the packages
that wrote a folder what it holds. Errors and files are here too, because everything else needs
them. Stands on nothing else in this package.
"""
