"""PyTorch's switches for deterministic algorithms."""

from __future__ import annotations

import os
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from types import ModuleType

MODES = ("off", "warn", "strict")
# cuBLAS is deterministic with these two workspaces only (NVIDIA, cuBLAS library, "Results
# reproducibility"); PyTorch checks for the same two.
WORKSPACES = (":4096:8", ":16:8")
VARIABLE = "CUBLAS_WORKSPACE_CONFIG"

_restorers: list[Callable[[], None]] = []  # undo what "warn" and "strict" have changed


def set_determinism(
    mode: str, torch: ModuleType, environ: MutableMapping[str, str] | None = None
) -> None:
    """Set the switches, or restore them as they were before the first call.

    Args:
        mode: One of `MODES`.
        torch: The module.
        environ: The environment, for cuBLAS; None for that of the process.

    Raises:
        RuntimeError: In mode `strict`, if CUDA is in use without a deterministic cuBLAS workspace.
    """
    if mode == "off":
        _restore_switches()
        return
    environ = os.environ if environ is None else environ
    workspace = environ.get(VARIABLE)
    is_deterministic = workspace in WORKSPACES
    # cuBLAS reads the variable when it creates its first handle; later it has no effect.
    is_late = not is_deterministic and bool(torch.cuda.is_initialized())
    if is_late:
        setting = f"no {VARIABLE}" if workspace is None else f"{VARIABLE}={workspace}"
        message = (
            f"CUDA is already in use with {setting}, so cuBLAS cannot be made deterministic in "
            "this process. Call set_seed before anything touches the GPU, or start with "
            f"`export {VARIABLE}=:4096:8`."
        )
        if mode == "strict":
            raise RuntimeError(message)
        warnings.warn(message, stacklevel=3)
    _restore_switches()  # "warn" inherits nothing from an earlier "strict"
    _restorers.extend(_make_restorers(torch, environ))
    if not is_late:
        environ[VARIABLE] = workspace if is_deterministic and workspace else WORKSPACES[0]
    torch.use_deterministic_algorithms(True, warn_only=mode == "warn")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False  # would choose algorithms by measured times
    if mode == "strict":
        # The older of PyTorch's two interfaces can be set after either has been used.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def _restore_switches() -> None:
    while _restorers:
        _restorers.pop()()


def _make_restorers(
    torch: ModuleType, environ: MutableMapping[str, str]
) -> list[Callable[[], None]]:
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = environ.get(VARIABLE)

    def restore_environment() -> None:
        if torch.cuda.is_initialized():
            return  # it has been read; without it a later "strict" would seem to come too late
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
        except RuntimeError:  # set through PyTorch's newer interface; the older cannot express it
            continue
        restorers.append(_setter(owner, name, value))
    return restorers


def _setter(owner: object, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)
