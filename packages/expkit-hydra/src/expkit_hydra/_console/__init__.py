"""What a person sees: lines of a sweep, tables, one run in full.

Others take: consoles, texts, tables, previews, `find_run`.
Stands on all wings but `_after`, which stands on it.
"""
