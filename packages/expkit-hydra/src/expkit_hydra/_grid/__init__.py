"""What a grid is: its files and frozen configurations, and a run's name and identity.

Others take: `Grid`, `GridRun`, reading and writing, names, hashes, settings, schedulers' views.
Stands on `_composing`.
"""
