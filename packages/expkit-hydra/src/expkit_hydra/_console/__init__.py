"""What a person sees: lines of a sweep, tables, one run in full, and what follows a grid.

Others take: consoles, texts, tables, previews, `find_run`, `finish_grid`, `TrackingSync`.
Stands on all other wings; only the faces at the top stand on it.
"""
