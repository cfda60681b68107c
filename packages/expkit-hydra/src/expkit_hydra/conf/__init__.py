"""Hydra configuration that `defaults: [expkit, …]` selects; `pkg://expkit_hydra.conf`."""
