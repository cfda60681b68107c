"""Where a run happened: versions, host, GPU. Nothing is imported to find out."""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from .._files.secrets import public_override, without_known_secrets


def environment_facts(environ: Mapping[str, str] | None = None) -> dict[str, object]:
    """Facts about this process: Python, platform, versions of what is imported, GPUs, command.

    Args:
        environ: Environment variables; None: this process's.

    Returns:
        Plain data. The only environment variable in it is CUDA_VISIBLE_DEVICES.
    """
    import platform

    environ = os.environ if environ is None else environ
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "host": platform.node(),
        "cpus": _cpus(),
        "gpus": gpu_names(),
        "cuda_visible_devices": environ.get("CUDA_VISIBLE_DEVICES"),
        "command": [public_override(without_known_secrets(text)) for text in sys.argv],
        "folder": str(Path.cwd()),
        "versions": _versions(),
    }


def gpu_names(drivers: Path = Path("/proc/driver/nvidia/gpus")) -> list[str]:
    """Names of the NVIDIA GPUs of this machine, without touching CUDA.

    Asking CUDA would initialise it, after which a forked DataLoader worker can no longer use it.
    torch is asked only where it has initialised CUDA already.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        with contextlib.suppress(Exception):  # these facts are not worth losing a run
            if torch.cuda.is_initialized():
                count = torch.cuda.device_count()
                return [torch.cuda.get_device_name(index) for index in range(count)]
    names = []
    with contextlib.suppress(OSError):
        for path in sorted(drivers.glob("*/information")):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("Model:"):
                    names.append(line.partition(":")[2].strip())
    return names


def _cpus() -> int | None:
    with contextlib.suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))  # what Slurm gave, not what the node has
    return os.cpu_count()


def _versions() -> dict[str, str]:
    """Versions of the imported packages, from their `__version__`: no metadata is looked up."""
    versions = {}
    for name, module in list(sys.modules.items()):
        if "." in name or name.startswith("_") or not isinstance(module, ModuleType):
            continue
        if name in sys.stdlib_module_names:
            continue
        version = module.__dict__.get("__version__")
        if isinstance(version, str):
            versions[name] = str(version)  # torch's is a subclass of str
    return dict(sorted(versions.items()))
