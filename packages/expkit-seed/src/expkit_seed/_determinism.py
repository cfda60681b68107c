"""PyTorch's switches for repeatable results."""

import os
import warnings
from collections.abc import Callable, MutableMapping
from types import ModuleType

MODES = ("off", "warn", "strict")
# cuBLAS is repeatable with these two workspaces only (NVIDIA, cuBLAS library, "Results
# reproducibility"); PyTorch checks for the same two.
WORKSPACES = (":4096:8", ":16:8")
VARIABLE = "CUBLAS_WORKSPACE_CONFIG"

_before: list[Callable[[], None]] = []  # puts back what the first "warn" or "strict" found


def set_determinism(
    mode: str, torch: ModuleType, environ: MutableMapping[str, str] = os.environ
) -> None:
    """Sets the switches, or puts them back as they were before the first call.

    Args:
        mode: One of `MODES`.
        torch: The module.
        environ: The environment, for cuBLAS.

    Raises:
        RuntimeError: In mode `strict`, if CUDA is in use without a repeatable cuBLAS workspace.
    """
    if mode == "off":
        _put_back()
        return
    workspace = environ.get(VARIABLE)
    is_repeatable = workspace in WORKSPACES
    # cuBLAS reads the variable when it makes its first handle: later it is too late.
    is_late = not is_repeatable and bool(torch.cuda.is_initialized())
    if is_late:
        found = f"no {VARIABLE}" if workspace is None else f"{VARIABLE}={workspace}"
        message = (
            f"CUDA is already in use with {found}: cuBLAS stays unrepeatable in this process. Call "
            f"set_seed before anything touches the GPU, or start with `export {VARIABLE}=:4096:8`."
        )
        if mode == "strict":
            raise RuntimeError(message)
        warnings.warn(message, stacklevel=3)
    _put_back()  # "warn" inherits nothing from a "strict" before it
    _before.extend(_restorers(torch, environ))
    if not is_late:
        environ[VARIABLE] = workspace if is_repeatable and workspace else WORKSPACES[0]
    torch.use_deterministic_algorithms(True, warn_only=mode == "warn")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False  # would choose its algorithm by a race of timings
    if mode == "strict":
        # The older of PyTorch's two interfaces: setting it is accepted after either was used.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def _put_back() -> None:
    while _before:
        _before.pop()()


def _restorers(torch: ModuleType, environ: MutableMapping[str, str]) -> list[Callable[[], None]]:
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = environ.get(VARIABLE)

    def restore_environment() -> None:
        if torch.cuda.is_initialized():
            return  # read by now: without it a later "strict" would seem to come too late
        if workspace is None:
            environ.pop(VARIABLE, None)
        else:
            environ[VARIABLE] = workspace

    restorers = [
        lambda: torch.use_deterministic_algorithms(enabled, warn_only=warn_only),
        restore_environment,
    ]
    for owner, name in (
        (torch.backends.cudnn, "deterministic"),
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cuda.matmul, "allow_tf32"),
        (torch.backends.cudnn, "allow_tf32"),
    ):
        try:
            value = getattr(owner, name)
        except RuntimeError:  # set by PyTorch's newer interface, which the older cannot express
            continue
        restorers.append(_setter(owner, name, value))
    return restorers


def _setter(owner: object, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)
