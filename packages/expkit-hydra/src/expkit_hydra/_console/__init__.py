"""What a person sees: lines of a sweep, tables that fit the terminal.

Others take: consoles, texts, tables, previews.
Stands on all wings but `_after` and `_verbs`, which stand on it, as do the faces at the top.
"""
