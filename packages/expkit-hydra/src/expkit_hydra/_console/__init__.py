"""What a person sees: lines of a sweep, tables that fit the terminal, and what follows a grid.

Others take: consoles, texts, tables, previews, `finish_grid`, `TrackingSync`.
Stands on all other wings but `_verbs`, which stands on it, as do the faces at the top.
"""
