"""The GPUs of this machine, divided among processes as a scheduler would.

Nothing here imports torch or initialises CUDA: a process that has done so keeps its devices.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._composing.errors import GridError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_QUERY_LIMIT_S = 30.0  # nvidia-smi wakes the driver up where nobody has used it yet


@dataclass(frozen=True)
class GpuDivision:
    """How processes share GPUs.

    `slots` are values of CUDA_VISIBLE_DEVICES, one for each process that may run at a time; empty
    where all processes see what this one sees. `text` says so, for people.
    """

    slots: tuple[str, ...] = ()
    text: str = ""


class GpuPool:
    """Lends slots to processes, first those whose GPU has the fewest."""

    def __init__(self, slots: Sequence[str]) -> None:
        self._free = list(slots)
        self._lent: list[str] = []

    def take(self) -> str | None:
        """A free slot; None where there is nothing to divide."""
        if not self._free:
            return None
        slot = min(self._free, key=self._lent.count)
        self._free.remove(slot)
        self._lent.append(slot)
        return slot

    def give_back(self, slot: str | None) -> None:
        """Take a slot back from a process that has ended."""
        if slot is not None:
            self._lent.remove(slot)
            self._free.append(slot)


def check_gpus_per_run(gpus_per_run: float | None) -> None:
    """Refuse a number of GPUs that makes no sense.

    Raises:
        GridError: If it is neither None, nor a whole number, nor a fraction of one.
    """
    if gpus_per_run is None or 0 <= gpus_per_run <= 1:
        return
    if gpus_per_run > 1 and float(gpus_per_run).is_integer():
        return
    raise GridError(
        f"hydra.launcher.gpus_per_run={gpus_per_run!r} must be a whole number of GPUs, a fraction "
        "such as 0.5 (two runs share one), or 0 (every run sees all)."
    )


def divide_gpus(gpus: Sequence[str], gpus_per_run: float | None, n_jobs: int) -> GpuDivision:
    """Divide GPUs among processes.

    Args:
        gpus: As CUDA_VISIBLE_DEVICES names them.
        gpus_per_run: For each process; None: one, if there are as many as processes.
        n_jobs: Processes at a time.

    Raises:
        GridError: If there are too few GPUs for a single run.

    Examples:
        >>> divide_gpus(["0", "1"], 0.5, n_jobs=4).slots
        ('0', '1', '0', '1')
        >>> divide_gpus(["0", "1", "2", "3"], 2, n_jobs=4)
        GpuDivision(slots=('0,1', '2,3'), text='2 GPUs each')
    """
    count = len(gpus)
    noun = "GPU" if count == 1 else "GPUs"
    if gpus_per_run is None and 0 < count < n_jobs:
        return GpuDivision(
            text=f"all see the {count} {noun}: hydra.launcher.gpus_per_run="
            f"{1 / math.ceil(n_jobs / count):.3g} divides them"
        )
    per_run = 1.0 if gpus_per_run is None else float(gpus_per_run)
    if per_run == 0 or count == 0:
        return GpuDivision(text="no GPU is visible" if gpus_per_run else "")
    if per_run > count:
        raise GridError(
            f"hydra.launcher.gpus_per_run={gpus_per_run:g}, and this process sees {count} {noun}."
        )
    if per_run < 1:
        sharing = int(1 / per_run + 1e-9)
        slots = [gpu for _ in range(sharing) for gpu in gpus]
        text = f"up to {sharing} share a GPU"
    else:
        size = int(per_run)
        slots = [",".join(gpus[start : start + size]) for start in range(0, count, size)]
        slots = slots[: count // size]
        text = f"{size} GPU{'' if size == 1 else 's'} each"
    return GpuDivision(tuple(slots[:n_jobs]), text)


def visible_gpus(environ: Mapping[str, str] | None = None) -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    Args:
        environ: Environment variables; None: this process's.
    """
    environ = os.environ if environ is None else environ
    if VISIBLE in environ:
        return _valid(environ[VISIBLE])
    return _listed(_query(environ))


def _valid(text: str) -> list[str]:
    """The devices before the first that is none, where CUDA stops reading."""
    gpus: list[str] = []
    for word in text.split(","):
        gpu = word.strip()
        if not re.fullmatch(r"\d+|(?:GPU|MIG)-\S+", gpu):
            break
        gpus.append(gpu)
    return gpus


def _listed(text: str) -> list[str]:
    r"""From what `nvidia-smi -L` prints: numbers of GPUs, and UUIDs where MIG has divided one.

    Examples:
        >>> _listed("GPU 0: A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-2)\nGPU 1: A100")
        ['MIG-2', '1']
    """
    gpus: list[str] = []
    whole: str | None = None
    for line in text.splitlines():
        gpu = re.match(r"GPU (\d+):", line)
        part = re.match(r"\s+MIG .*\(UUID: (MIG-[^)\s]+)\)", line)
        if gpu is not None:
            whole = gpu[1]
            gpus.append(whole)
        elif part is not None:
            if gpus and gpus[-1] == whole:
                gpus.pop()
            gpus.append(part[1])
    return gpus


def _query(environ: Mapping[str, str]) -> str:
    try:
        return subprocess.run(
            ["nvidia-smi", "-L"],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_QUERY_LIMIT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):  # no NVIDIA GPU, or none that answers
        return ""
