"""How anything is written and read: durable files, YAML, torch archives, tables, users' paths.

Others take `write_file`, `atomic_path`, `append_line`, `path_inside`, `write_torch`, `read_torch`,
`saveable`, `yaml_text`, `read_yaml`, `plain_data`, `json_data`. It knows nothing of runs and
stands on no other wing.
"""
