"""What a figure shows, apart from its style: a request becomes a recipe and its data.

Others take the functions `…_recipe`, `Recipe`, and how both are written beside a figure and read.
A call that has nothing to draw ends here, without matplotlib. Stands on `_data`.
"""
