"""Rules that decide which runs of a grid search are skipped, and why."""
