"""What pytest leaves alone here."""

collect_ignore = ["resumable_training.py"]  # a script that tests start; it needs torch
