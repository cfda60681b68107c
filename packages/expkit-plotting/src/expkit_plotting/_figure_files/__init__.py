"""Which figures an experiment gets, where they go, and which of them are up to date.

The commands take `plot_experiments` and `restyle`. Stands on `_data`, `_style` and, where there
is something to draw, `_figures`.
"""
