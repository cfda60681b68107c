"""What figures of all kinds are made of: axes, labels, legends, layout; and their files.

Others take panels, legends and layout to draw with, `StyledFigure` and `save_figure`. Modules here
import matplotlib's figures, so a call that has nothing to draw does not load them. Stands on
`_recipes`, `_style` and `_data`.
"""
