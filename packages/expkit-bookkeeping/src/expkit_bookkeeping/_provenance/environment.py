"""Where and how a run was started: versions, host, GPU, command. Nothing is imported for it."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from .._files.secrets import public_override, without_known_secrets
from .code import project_folder

_OPTIONS_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")  # python(1), but for -c and -m


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
        "command": public_command(),
        "folder": str(Path.cwd()),
        "project": str(project_folder()),
        "versions": _versions(),
    }


def public_command() -> list[str]:
    """The command line of this process as files show it, without secrets."""
    command = typed_arguments() or sys.argv
    return [public_override(without_known_secrets(text)) for text in command]


def typed_arguments(
    argv: Sequence[str] | None = None,
    orig_argv: Sequence[str] | None = None,
    main: ModuleType | None = None,
) -> list[str] | None:
    """What stood behind `python` on the command line: options, the program and its arguments.

    Whatever ran the program in its turn, such as a debugger, coverage or multiprocessing, is left
    out.

    Args:
        argv: The program and its arguments; None: `sys.argv`.
        orig_argv: The words that the interpreter was given; None: `sys.orig_argv`.
        main: The module `__main__`; None: this process's.

    Returns:
        None if nothing says it, as in a notebook.
    """
    script, *arguments = (sys.argv if argv is None else argv) or [""]
    words = list(sys.orig_argv if orig_argv is None else orig_argv)[1:]
    main = sys.modules.get("__main__") if main is None else main
    spec = getattr(main, "__spec__", None)
    _, program, rest = split_arguments(words)
    if script == "-c":
        return words if program[:1] == ["-c"] and rest == arguments else None
    if spec is not None and spec.name != "__main__":
        started = ["-m", spec.name.removesuffix(".__main__")]
    elif Path(getattr(main, "__file__", None) or "<stdin>").is_file():
        started = [script]
    else:
        return None
    if program == started:  # or a runner that has left `__main__` as it was, such as cProfile
        return words
    return [*started, *arguments]


def split_arguments(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The interpreter's options, the program, and the program's own arguments.

    Examples:
        >>> split_arguments(["-u", "-m", "project.train", "-m", "lr=1,2"])
        (['-u'], ['-m', 'project.train'], ['-m', 'lr=1,2'])
    """
    start = 0
    while start < len(words) and words[start].startswith("-") and words[start] not in ("-c", "-m"):
        start += 2 if words[start] in _OPTIONS_WITH_VALUE else 1
    end = start + (2 if words[start : start + 1] in (["-c"], ["-m"]) else 1)
    return list(words[:start]), list(words[start:end]), list(words[end:])


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
