"""A grid search as Slurm array jobs: submitted, waited for, cancelled, tried again.

What submitit does well is used: its names for resources, cloudpickle for functions that cannot be
imported, and the environment of torch.distributed. It could also submit arrays of pickled calls,
wait for their pickled results and checkpoint them. That is not used: a call would hold a copy of
all of Hydra's state (73 kB and four files per run), sbatch and the worker would have to agree on
file names, `wait` never returns for a killed task where there is no sacct, the batch script would
be generated instead of the user's, and arrays beyond MaxArraySize are refused.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._cluster.errors import SlurmError as SlurmError
    from ._manager import SlurmManager as SlurmManager
    from ._watching.status import RunStatus as RunStatus
    from .training import SlurmTraining as SlurmTraining

_MODULES = {
    "RunStatus": "_watching.status",
    "SlurmError": "_cluster.errors",
    "SlurmManager": "_manager",
    "SlurmTraining": "training",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
