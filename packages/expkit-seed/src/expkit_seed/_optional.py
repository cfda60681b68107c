"""numpy and torch, if they are installed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def import_installed(name: str) -> ModuleType | None:
    """Import a module, or return None if it is not installed.

    If an installed module fails to import, the error is raised: its generator would stay unseeded.
    """
    if sys.modules.get(name) is not None:
        return sys.modules[name]
    spec = find_spec(name)
    if spec is None or spec.origin is None:  # no origin: just a folder of that name
        return None
    return import_module(name)


def require_torch(name: str) -> ModuleType:
    """Import torch for a function of this name.

    Raises:
        ImportError: If torch is not installed.
    """
    torch = import_installed("torch")
    if torch is None:
        raise ImportError(f"{name} needs PyTorch, which is not installed: pip install torch")
    return torch
