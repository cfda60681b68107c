"""Composing configurations of runs as Hydra does, and all that leans on its private parts.

Others take: overrides, the composer, nodes and plain data, errors, global state lent for a block.
Only `internals` touches private names of Hydra and OmegaConf. Stands on no other wing.
"""
