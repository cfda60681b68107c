"""How figures look: a style's keys, its YAML files, rcParams, colours, and text with LaTeX.

Others take `PlotStyle`, `as_style`, `rc_layer`, `curve_styles` and `escape`. It draws nothing
except the text with which it tries LaTeX. Stands on `_data`.
"""
