"""What follows the runs of a grid: results.csv, commands of the siblings, the last lines.

Others take `finish_grid` and `SiblingVerbs`, which is at work while the runs still go on.
Stands on `_console` and all that is below it; only the faces at the top stand on it.
"""
