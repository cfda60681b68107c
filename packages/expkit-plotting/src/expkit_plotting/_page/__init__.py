"""One HTML page that shows experiments: what is read for it, its data, and how it is rendered.

The face `Report` and the command take `render_page`. Stands on `_data`, `_style` and `_figures`.
"""
