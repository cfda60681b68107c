"""Styles that ship with the package; Hydra finds them as the group `plotting`."""
