"""Packages that not everybody installs: taken from here, a missing one is named with its command.

Below all wings. `from .._optional import torch`, in the function that needs it, is `import torch`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    import numpy as numpy
    import omegaconf as omegaconf
    import pandas as pandas
    import pyarrow as pyarrow
    import torch as torch
    import torchinfo as torchinfo
    from pyarrow import parquet as parquet

_COMMANDS = {
    "numpy": "Arrays need NumPy: pip install numpy",
    "omegaconf": "A DictConfig needs OmegaConf: pip install omegaconf",
    "pandas": 'A DataFrame needs pandas: pip install "expkit-bookkeeping[pandas]"',
    "pyarrow": 'Parquet needs pyarrow: pip install "expkit-bookkeeping[parquet]"',
    "sklearn": "An estimator needs scikit-learn: pip install scikit-learn",
    "torch": "Checkpoints, states and models need PyTorch: pip install torch",
    "torchinfo": 'A table of layers needs torchinfo: pip install "expkit-bookkeeping[summary]"',
}
_ALTERNATIVES = {
    "omegaconf": "Run.config is the same as plain data.",
    "pandas": (
        "result_rows() and write_results_csv() give the rows of results(), and Run.curves the "
        "metrics."
    ),
    "pyarrow": "tables can be saved as .csv.",
}


def import_optional(name: str) -> ModuleType:
    """Import a module of one of these packages.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    from importlib import import_module

    package = name.partition(".")[0]
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is installed, and lacks something itself
            raise
        message = f"{_COMMANDS[package]} (it is not installed)."
        if package in _ALTERNATIVES:
            message += f" Without it, {_ALTERNATIVES[package]}"
        raise ModuleNotFoundError(message, name=package) from None


def __getattr__(name: str) -> ModuleType:
    if name == "parquet":
        return import_optional("pyarrow.parquet")
    if name not in _COMMANDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_optional(name)
