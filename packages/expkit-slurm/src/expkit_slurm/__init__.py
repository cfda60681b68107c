"""A grid search as one Slurm array."""
