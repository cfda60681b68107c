"""The kinds of figure: a recipe, its data and a style become a figure.

One module draws one kind; `drawing.py` lists them, and others take its `draw_figure`. What kinds
have in common is in `_figures`. Stands on `_figures`, `_recipes`, `_style` and `_data`.
"""
