"""What happens on the node, in a task of an array: its program, its log, its ranks, its end.

Others take the parts of a task for `expkit_slurm.training`, and the lines that a task leaves in its
log. Stands on `_submissions` and `_cluster`.
"""
