"""An experiment kit for people who train PyTorch models with Hydra, MLflow and Slurm.

This package holds no tools of its own: it pins versions that belong together and provides
the `expkit` command. The tools are:

- `expkit_registry.BaseRegistry`: names for classes and functions
- `expkit_seed.set_seed`: every random number generator
- `expkit_timer.Timer`: the time of code blocks
- `expkit_bookkeeping.Bookkeeping`: the run's folder
- `expkit_mlflow.MLFlowLogger`: experiments and runs in MLflow
- `expkit_plotting.PlotMetrics`: figures and their style
- `expkit_filter.RunFilter`: which runs to skip, and why
- `expkit_hydra.Grid`: the grid search
- `expkit_slurm`: the grid search as a Slurm array
"""
