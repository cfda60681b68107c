"""State dicts of models, optimizers and schedulers: taken, restored, each in its own file."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeVar, runtime_checkable

from .._files.durable import Check
from .._files.paths import missing_file_error, path_inside
from .._files.saveable import same_memory, saveable, type_name
from .._files.torch_archives import read_torch, write_torch
from .files import checkpoint_path, find_checkpoints, parse_name, reason_for_no_best

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch import Tensor, nn

    from .._runs.settings import RunSettings

T = TypeVar("T")
WRAPPED = ("module", "_orig_mod")  # attributes of DistributedDataParallel and `torch.compile`


@runtime_checkable
class Stateful(Protocol):
    """An object with a state dict: a model, optimizer, scheduler or scaler."""

    def state_dict(self) -> object: ...

    def load_state_dict(self, state_dict: object, /) -> object: ...


# --- wrapped models --------------------------------------------------------------------------


def unwrap(model: nn.Module) -> nn.Module:
    """The user's model inside DistributedDataParallel, DataParallel and `torch.compile`."""
    attribute = _wrapped_attribute(model)
    return model if attribute is None else unwrap(getattr(model, attribute))


def _wrapped_attribute(module: nn.Module) -> str | None:
    from .._optional import torch

    nn = torch.nn
    if isinstance(module, (nn.parallel.DataParallel, nn.parallel.DistributedDataParallel)):
        return "module"
    # By name: importing torch._dynamo for the class takes a second.
    if type(module).__name__ == "OptimizedModule" and "_orig_mod" in module._modules:
        return "_orig_mod"
    return None


def name_cleaner(module: nn.Module) -> Callable[[str], str]:
    """A function that removes the wrappers of sub-modules from a dotted name."""
    prefixes = []
    for name, part in module.named_modules(remove_duplicate=False):
        attribute = _wrapped_attribute(part)
        if attribute is not None:
            prefix = f"{name}." if name else ""
            prefixes.append((f"{prefix}{attribute}.", prefix))
    prefixes.sort(key=lambda pair: -len(pair[0]))  # the inner before the outer

    def clean(name: str) -> str:
        for long, short in prefixes:
            if name.startswith(long):
                name = short + name[len(long) :]
        return name

    return clean


def state_of(value: object, name: str, keep: Callable[[Tensor], Tensor] = same_memory) -> object:
    """The state dict of an object as plain content; a model's without its wrappers.

    Args:
        value: The object.
        name: What to call it in errors.
        keep: See `saveable`.

    Raises:
        TypeError: If the object has no state dict, or one that holds what cannot be saved.
    """
    if not isinstance(value, Stateful):
        raise TypeError(
            f"{name} is a {type_name(value)}, which lacks state_dict() or load_state_dict()."
        )
    nn = _loaded_nn()
    if nn is None or not isinstance(value, nn.Module):
        return saveable(value.state_dict(), name, keep)
    module = unwrap(value)
    # Not keep_vars=True, which saves a tenth of a millisecond: hooks expect detached tensors.
    raw = module.state_dict()
    metadata = getattr(raw, "_metadata", None)  # one item per module
    if metadata is not None and not any(key.endswith(WRAPPED) for key in metadata):
        return saveable(raw, name, keep)  # without looking at the many modules of a deep model
    clean = name_cleaner(module)
    state = OrderedDict((clean(key), part) for key, part in raw.items())
    if metadata is not None:
        state._metadata = OrderedDict(  # type: ignore[attr-defined]
            (clean(f"{key}.").removesuffix("."), part) for key, part in metadata.items()
        )
    return saveable(state, name, keep)


def hyperparameters(value: object, name: str) -> dict[str, object]:
    """By place, what an optimizer or a scheduler was made with, and a checkpoint replaces.

    Args:
        value: The optimizer or scheduler; anything else has none.
        name: What to call it.

    Returns:
        Plain values, without what changes as the training goes on.
    """
    places: dict[str, object] = {}
    for number, group in enumerate(getattr(value, "param_groups", ())):
        changing = {"lr"} if "initial_lr" in group else set()  # a scheduler moves it
        for key, part in group.items():
            if key not in changing:
                places[f"{name}.param_groups[{number}].{key}"] = part
    if hasattr(value, "last_epoch") and isinstance(value, Stateful):
        state = value.state_dict()
        for key, part in state.items() if isinstance(state, Mapping) else ():
            if not key.startswith("_") and key not in _PROGRESS_OF_SCHEDULERS:
                places[f"{name}.{key}"] = part
    return {place: part for place, part in places.items() if _is_plain(part)}


# Of torch.optim.lr_scheduler: what changes with each step.
_PROGRESS_OF_SCHEDULERS = frozenset(
    ["last_epoch", "best", "num_bad_epochs", "cooldown_counter", "T_cur", "T_i"]
)


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def load_into(value: object, state: object, name: str, *, strict: bool = True) -> None:
    """Restore the state of an object; a model may be wrapped in another way than when saved.

    Raises:
        TypeError: If the object has no `load_state_dict`.
        RuntimeError: If the state does not fit (torch's text names the keys and shapes).
    """
    if not isinstance(value, Stateful):
        raise TypeError(
            f"{name} is a {type_name(value)}, which lacks state_dict() or load_state_dict()."
        )
    nn = _loaded_nn()
    if nn is None or not isinstance(value, nn.Module):
        value.load_state_dict(state)
        return
    if not isinstance(state, Mapping):
        raise TypeError(f"The saved state of {name} is a {type_name(state)}, not a state_dict.")
    module = unwrap(value)
    clean = name_cleaner(module)
    names = {clean(key): key for key in module.state_dict()}
    full = OrderedDict((names.get(str(key), str(key)), part) for key, part in state.items())
    metadata = getattr(state, "_metadata", None)
    if metadata is not None:
        modules = module.named_modules(remove_duplicate=False)
        owners = {clean(f"{key}.").removesuffix("."): key for key, _ in modules}
        full._metadata = OrderedDict(  # type: ignore[attr-defined]
            (owners.get(key, key), part) for key, part in metadata.items()
        )
    module.load_state_dict(full, strict=strict)


def _loaded_nn() -> ModuleType | None:
    return getattr(sys.modules.get("torch"), "nn", None)


# --- one object, one file --------------------------------------------------------------------


def save_state(folder: Path, value: object, name: str, *, check: Check | None = None) -> Path:
    """Write the state of a model, optimizer or scheduler to `states/NAME.pt` of a run folder.

    The file is a plain `state_dict` that any program reads with `torch.load`. `check` is as for
    `write_file`.

    Raises:
        TypeError: If the object has no `state_dict`, or it holds what cannot be saved.
        ValueError: If the name leaves the folder, or is a checkpoint's.
        OSError: If it could not be written.
    """
    path = state_path(folder, name)
    if path.parent == folder / "states" and (path.name == "best.pt" or parse_name(path)):
        raise ValueError(
            f"{name!r} is the name of a checkpoint, which save_checkpoint() replaces and removes. "
            f"Choose another, such as 'model_{path.stem}'."
        )
    write_torch(path, state_of(value, name), check=check)
    return path


def load_state(
    folder: Path,
    value: T,
    name: str | int,
    *,
    part: str,
    settings: RunSettings,
    strict: bool,
    unsafe: bool,
) -> T:
    """Read a state of a run folder into an object, and return the object.

    Args:
        folder: The run folder.
        value: A model (wrapped or not), optimizer or scheduler.
        name: See `stored_path`.
        part: Which state to take from a checkpoint.
        settings: Which metric ranks the checkpoints.
        strict: For models: whether every key must exist and fit.
        unsafe: Whether to unpickle arbitrary objects, which runs code from the file.

    Raises:
        RuntimeError: If the state does not fit; see `read_state` for the others.
    """
    path, state = read_state(folder, name, part=part, settings=settings, unsafe=unsafe)
    try:
        load_into(value, state, str(name), strict=strict)
    except Exception as error:
        prepend_fact(error, f"{path} was not loaded")
        raise
    return value


def read_state(
    folder: Path, name: str | int, *, part: str, settings: RunSettings, unsafe: bool
) -> tuple[Path, object]:
    """The file of a state in a run folder, and the state; see `load_state`.

    Raises:
        FileNotFoundError: If there is no such state; the text names those that exist.
        DamagedFileError: If the file is damaged.
        ValueError: If it is a checkpoint without such a state, or the name leaves the folder.
    """
    path = stored_path(folder, name, settings)
    state = read_torch(path, unsafe=unsafe)
    if isinstance(state, dict) and {"schema", "epoch", "states", "rng"} <= state.keys():
        if part not in state["states"]:
            raise ValueError(
                f"{path} is a checkpoint without a state of {part}; it has "
                f"{', '.join(state['states']) or 'none'}."
            )
        state = state["states"][part]
    return path, state


def stored_path(folder: Path, name: str | int, settings: RunSettings) -> Path:
    """The file in `states/` that a name stands for when it is read.

    Args:
        folder: The run folder.
        name: The name that a state was saved under; or a checkpoint's, `"best"`, `"epoch_0007"`;
            or an epoch, from 0; or `"last"`, the newest checkpoint unless a state has that name.
        settings: Which metric ranks the checkpoints.

    Raises:
        FileNotFoundError: If there is no such file; the text names those that exist.
        ValueError: If the name leaves the folder.
    """
    path = checkpoint_path(folder, name) if isinstance(name, int) else state_path(folder, name)
    if path.is_file():
        return path
    if name == "last" and (checkpoints := find_checkpoints(folder)):
        return checkpoints[-1].path
    is_best = path == folder / "states" / "best.pt"
    raise missing_file_error(path, reason_for_no_best(folder, settings) if is_best else "")


def prepend_fact(error: Exception, fact: str) -> None:
    """Put a fact before an error's text, as run.json and tables show no notes."""
    if len(error.args) == 1 and error.args[0] == str(error):
        error.args = (f"{fact}: {error}",)
    else:
        error.add_note(f"{fact}.")


def state_path(folder: Path, name: str) -> Path:
    """The file of a state in a run folder.

    Raises:
        ValueError: If the name leaves the folder.

    Examples:
        >>> state_path(Path("run"), "model").as_posix()
        'run/states/model.pt'
    """
    path = path_inside(folder / "states", name)
    return path if path.suffix == ".pt" else path.with_name(path.name + ".pt")
