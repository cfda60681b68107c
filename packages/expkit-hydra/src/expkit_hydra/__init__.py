"""A grid search that can be trusted: a Hydra sweeper and launcher that run only what is missing."""
