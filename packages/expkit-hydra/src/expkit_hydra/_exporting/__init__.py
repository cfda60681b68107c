"""An experiment as one file for somebody else: what is in it, and how it is written.

Others take `members`, `write_archive`. Stands on nothing: it reads what is there and changes none.
"""
