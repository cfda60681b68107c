"""MLflow without the wait: runs append to a journal, one writer brings it to the store."""
