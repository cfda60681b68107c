"""The sweeper `expkit`."""
