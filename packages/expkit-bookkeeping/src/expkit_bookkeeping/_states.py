"""State of models, optimizers and schedulers, each in a file of its own."""

import errno
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from ._checkpoint_files import parse_name, why_no_best
from ._names import path_inside
from ._saveable import as_it_is, saveable, type_name
from ._torch_files import read_torch, write_torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ._settings import RunSettings

T = TypeVar("T")
WRAPPED = ("module", "_orig_mod")  # attributes of DistributedDataParallel and `torch.compile`


@runtime_checkable
class Stateful(Protocol):
    """What has `state_dict()` and `load_state_dict()`: models, optimizers, schedulers, scalers."""

    def state_dict(self) -> object: ...

    def load_state_dict(self, state_dict: object, /) -> object: ...


# --- wrapped models --------------------------------------------------------------------------


def unwrap(model: "nn.Module") -> "nn.Module":
    """The user's model inside DistributedDataParallel, DataParallel and `torch.compile`."""
    attribute = _wrapped_attribute(model)
    return model if attribute is None else unwrap(getattr(model, attribute))


def _wrapped_attribute(module: "nn.Module") -> str | None:
    from torch import nn  # not the classes: this costs less where all is loaded

    if isinstance(module, (nn.parallel.DataParallel, nn.parallel.DistributedDataParallel)):
        return "module"
    # By name: importing torch._dynamo for the class takes a second.
    if type(module).__name__ == "OptimizedModule" and "_orig_mod" in module._modules:
        return "_orig_mod"
    return None


def _name_cleaner(module: "nn.Module") -> Callable[[str], str]:
    """Function that takes the wrappers of sub-modules out of a dotted name."""
    wrapped = []
    for name, part in module.named_modules(remove_duplicate=False):
        attribute = _wrapped_attribute(part)
        if attribute is not None:
            prefix = f"{name}." if name else ""
            wrapped.append((f"{prefix}{attribute}.", prefix))
    wrapped.sort(key=lambda pair: -len(pair[0]))  # the inner before the outer

    def clean(name: str) -> str:
        for long, short in wrapped:
            if name.startswith(long):
                name = short + name[len(long) :]
        return name

    return clean


def state_of(value: object, name: str, keep: "Callable[[Tensor], Tensor]" = as_it_is) -> object:
    """State of an object as plain content; a model's without its wrappers.

    Args:
        value: The object.
        name: What to call it in errors.
        keep: See `saveable`.

    Raises:
        TypeError: If the object has no state, or its state holds what cannot be saved.
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
    metadata = getattr(raw, "_metadata", None)  # one item a module
    if metadata is not None and not any(key.endswith(WRAPPED) for key in metadata):
        return saveable(raw, name, keep)  # soon, as deep models have many modules to look at
    clean = _name_cleaner(module)
    state = OrderedDict((clean(key), part) for key, part in raw.items())
    if metadata is not None:
        state._metadata = OrderedDict(  # type: ignore[attr-defined]
            (clean(f"{key}.").removesuffix("."), part) for key, part in metadata.items()
        )
    return saveable(state, name, keep)


def load_into(value: object, state: object, name: str, *, strict: bool = True) -> None:
    """Put a state back into an object; a model may be wrapped in another way than at saving.

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
    clean = _name_cleaner(module)
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


def save_state(folder: Path, value: object, name: str) -> Path:
    """Write the state of a model, optimizer or scheduler to `states/NAME.pt` of a run folder.

    The file is a plain `state_dict` that any program reads with `torch.load`.

    Raises:
        TypeError: If the object has no `state_dict`, or it holds what cannot be saved.
        ValueError: If the name leaves the folder, or is one that checkpoints have.
        OSError: If it could not be written.
    """
    path = state_path(folder, name)
    if path.parent == folder / "states" and (path.name == "best.pt" or parse_name(path)):
        raise ValueError(
            f"{name!r} is the name of a checkpoint, which save_checkpoint() replaces and removes. "
            f"Choose another, such as 'model_{path.stem}'."
        )
    write_torch(path, state_of(value, name))
    return path


def load_state(
    folder: Path,
    value: T,
    name: str,
    *,
    part: str,
    settings: "RunSettings",
    strict: bool,
    unsafe: bool,
) -> T:
    """Read `states/NAME.pt` of a run folder into an object, and return the object.

    Args:
        folder: The run folder.
        value: A model (wrapped or not), optimizer or scheduler.
        name: The name that the state was saved under, or a checkpoint's (`"best"`).
        part: Which state to take from a checkpoint.
        settings: By which metric a checkpoint would be the best.
        strict: For models: every key must be there and fit.
        unsafe: Unpickle arbitrary objects, which runs code from the file.

    Raises:
        FileNotFoundError: If there is no such state; the text names those that are there.
        DamagedFileError: If the file is damaged.
        ValueError: If it is a checkpoint without such a state.
        RuntimeError: If the state does not fit.
    """
    path = state_path(folder, name)
    if not path.is_file():
        is_best = path == folder / "states" / "best.pt"
        raise missing_file(path, why_no_best(folder, settings) if is_best else "")
    state = read_torch(path, unsafe=unsafe)
    if isinstance(state, dict) and {"schema", "epoch", "states", "rng"} <= state.keys():
        if part not in state["states"]:
            raise ValueError(
                f"{path} is a checkpoint without a state of {part}; it has "
                f"{', '.join(state['states']) or 'none'}."
            )
        state = state["states"][part]
    try:
        load_into(value, state, name, strict=strict)
    except Exception as error:
        tell_where(error, f"{path} was not loaded")
        raise
    return value


def tell_where(error: Exception, fact: str) -> None:
    """Put a fact before an error's text, which run.json and tables show without its notes."""
    if len(error.args) == 1 and error.args[0] == str(error):
        error.args = (f"{fact}: {error}",)
    else:
        error.add_note(f"{fact}.")


def state_path(folder: Path, name: str) -> Path:
    """Where a state is in a run folder.

    Raises:
        ValueError: If the name leaves the folder.

    >>> state_path(Path("run"), "model").as_posix()
    'run/states/model.pt'
    """
    path = path_inside(folder / "states", name)
    return path if path.suffix == ".pt" else path.with_name(path.name + ".pt")


def missing_file(path: Path, why: str = "") -> FileNotFoundError:
    """Error for a file that is not there: the near match, why, and what is."""
    from difflib import get_close_matches

    there = []
    if path.parent.is_dir():
        files = (entry.name for entry in path.parent.iterdir() if entry.is_file())
        there = sorted(name for name in files if not name.startswith("."))
    near = get_close_matches(path.name, there, 1)
    hint = f" Did you mean {near[0]!r}?" if near else f" {why}" if why else ""
    listing = f"There are: {', '.join(there)}." if there else "The folder holds no files."
    return FileNotFoundError(
        errno.ENOENT, f"No file {path.name!r} in {path.parent}.{hint} {listing}"
    )
