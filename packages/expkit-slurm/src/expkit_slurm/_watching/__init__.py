"""How the runs of a grid stand, as records, Slurm and logs say; waiting for them, showing them.

Others take `RunStatus`, `GridMonitor`, `wait_until_over` and `ProgressDisplay`; expkit-hydra asks
`view` through the entry point `expkit.schedulers`. Stands on the other three wings.
"""
