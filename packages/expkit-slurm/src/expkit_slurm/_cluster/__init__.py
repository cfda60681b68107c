"""Slurm: its commands, what they print, its options, the batch script, this process's own job.

The only place that runs Slurm's commands. Others take `Scheduler`, the `Task`s it reports, options
and scripts. Stands on no other wing.
"""
