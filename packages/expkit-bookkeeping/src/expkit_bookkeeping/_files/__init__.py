"""How anything is written and read: durable files, torch archives, tables, paths of users' files.

Others take `write_file`, `atomic_path`, `append_line`, `path_inside`, `write_torch`, `read_torch`,
`saveable`. It knows nothing of runs and stands on no other wing.
"""
