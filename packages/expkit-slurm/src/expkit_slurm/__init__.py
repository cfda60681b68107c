"""The place of the Slurm layer in the chain bookkeeping ← filter ← hydra ← slurm.

Nothing is exported yet: `SlurmManager` and `SlurmTraining` come with a later version.
Until then a grid reaches a cluster through Hydra's submitit launcher; see the README.
"""

__all__: list[str] = []
