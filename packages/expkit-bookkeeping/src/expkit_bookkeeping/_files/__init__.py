"""How anything is written and read: durable files, JSON, YAML, torch archives, secrets, paths.

Others take `write_file`, `atomic_path`, `append_line`, `open_append_file`, `open_to_read`,
`open_lines`, `read_file`, `read_json`, `read_yaml`, `yaml_text`, `plain_data`, `path_inside`,
`write_torch`, `read_torch`, `saveable`, `error_facts`, `printable`. Stands on no other wing.
"""
