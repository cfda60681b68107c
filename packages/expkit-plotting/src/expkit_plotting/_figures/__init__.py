"""What a figure looks like: a recipe, its runs and a style become a figure and its files.

Others take `draw_figure` and `save_figure`. Modules here import matplotlib's figures, so a call
that has nothing to draw does not load them. Stands on `_data` and `_style`.
"""
