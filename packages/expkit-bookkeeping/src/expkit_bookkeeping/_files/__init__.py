"""How anything is written and read: durable files, JSON, torch archives, tables, users' paths.

Others take `write_file`, `atomic_path`, `append_line`, `read_json`, `path_inside`, `write_torch`,
`read_torch`, `saveable`. It knows nothing of runs and stands on no other wing.
"""
