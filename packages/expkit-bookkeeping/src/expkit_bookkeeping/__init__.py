"""The folder of a training run: claims, state, logs, metrics, checkpoints and results."""
