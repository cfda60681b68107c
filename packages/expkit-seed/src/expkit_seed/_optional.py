"""numpy and torch, where they are installed."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def installed(name: str) -> ModuleType | None:
    """The module, imported, or None where it is not installed.

    An installed module that fails to import raises: half of the generators would stay unseeded.
    """
    if sys.modules.get(name) is not None:
        return sys.modules[name]
    spec = find_spec(name)
    if spec is None or spec.origin is None:  # no origin: a mere folder of that name
        return None
    return import_module(name)
