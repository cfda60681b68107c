"""Metric curves of one run or of hundreds, in a style for the screen or for a thesis."""
