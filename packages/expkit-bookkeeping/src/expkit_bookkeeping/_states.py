"""State of models, optimizers and encoders in files that need no unpickling.

What is written is reduced to what `torch.load(weights_only=True)` reads, and anything else is
refused with its key path, so that no file has to be trusted later.
"""

import contextlib
import errno
import os
import re
import shutil
import sys
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from ._checkpoint_files import parse_name, why_no_best
from ._files import atomic_path, sent_ahead
from ._names import path_inside

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ._settings import Settings

T = TypeVar("T")
MAX_DEPTH = 200  # deeper nesting is taken for a container that holds itself
WRAPPED = ("module", "_orig_mod")  # attributes of DistributedDataParallel and `torch.compile`
PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))  # none can change
_WRITER = ("PytorchStreamWriter", "inline_container", "iostream")  # in errors of torch's writer
_MOST_BITS = 8 * 254  # of a number; weights_only reads none of more than 255 bytes


class DamagedFileError(ValueError):
    """A file whose bytes are not those that were written."""


@runtime_checkable
class Stateful(Protocol):
    """What has `state_dict()` and `load_state_dict()`: models, optimizers, schedulers, scalers."""

    def state_dict(self) -> object: ...

    def load_state_dict(self, state_dict: object, /) -> object: ...


def as_it_is(tensor: "Tensor") -> "Tensor":
    """What is saved in a tensor's place: the same memory, without its gradient's history."""
    return tensor.detach()


def saveable(
    value: object, path: str = "state", keep: "Callable[[Tensor], Tensor]" = as_it_is
) -> object:
    """Reduce a value to what `torch.load(weights_only=True)` reads.

    Numpy scalars become numbers, numpy arrays tensors, OmegaConf containers plain ones, named
    tuples tuples. Containers are new ones; tensors are what `keep` makes of them, by default the
    same memory: write them before the next step changes them.

    Args:
        value: Tensors, numbers, text, bytes, None, and containers of them.
        path: What to call the value in errors.
        keep: Called with each tensor; gives what is saved in its place.

    Raises:
        TypeError: If the value holds anything else; the text names the key path.
    """
    import torch

    tensor, parameter = torch.Tensor, torch.nn.Parameter
    numpy = sys.modules.get("numpy")
    omegaconf = sys.modules.get("omegaconf")

    def key(item: object) -> object:
        if type(item) is int:
            return checked(item, "A key of ")
        if isinstance(item, tuple):
            return tuple(key(part) for part in item)
        if numpy is not None and isinstance(item, numpy.generic) and item.dtype.kind not in "mM":
            item = item.item()
        if type(item) not in PLAIN:
            name, kind = repr(item), type_name(item)
            raise _Refused(lambda where: f"The key {name} of {where} is a {kind}. {_ALLOWED}")
        return item

    def mapping(item: Mapping[object, object], depth: int) -> dict[object, object]:
        # Not OrderedDict[…](): that hides a type in the object, which would be saved with it.
        plain: dict[object, object] = OrderedDict() if isinstance(item, OrderedDict) else {}
        for name, part in item.items():
            plain_name = name if type(name) is str else key(name)
            kind = type(part)
            # Nearly all are tensors, and this is the loop that counts.
            if kind is tensor or kind is parameter:
                plain[plain_name] = keep(part)  # type: ignore[arg-type]
                continue
            if kind in PLAIN and kind is not int:
                plain[plain_name] = part
                continue
            try:
                plain[plain_name] = convert(part, depth + 1)
            except _Refused as refused:
                refused.inside(f".{name}" if isinstance(name, str) else f"[{name!r}]")
                raise
        # Versions of a module's state_dict.
        if isinstance(plain, OrderedDict) and hasattr(item, "_metadata"):
            metadata = item._metadata
            if not _is_usual(metadata):
                try:
                    metadata = convert(metadata, depth + 1)
                except _Refused as refused:
                    refused.inside("._metadata")
                    raise
            plain._metadata = metadata  # type: ignore[attr-defined]
        return plain

    def checked(number: int, what: str = "") -> int:
        bits = number.bit_length()
        if bits > _MOST_BITS:
            raise _Refused(
                lambda where: (
                    f"{what}{where} is a number of {bits} bits; more than {_MOST_BITS} "
                    "cannot be read back. Save it as text or bytes."
                )
            )
        return number

    def convert(item: object, depth: int) -> object:
        kind = type(item)
        if kind is dict and depth <= MAX_DEPTH:  # first, as an optimizer has one a parameter
            return mapping(item, depth)  # type: ignore[arg-type]
        if kind is int:
            return checked(item)  # type: ignore[arg-type]
        if kind in PLAIN:
            return item
        if isinstance(item, tensor):
            if kind is not tensor and kind is not parameter and not _is_safe(kind):
                raise _not_allowed(item)
            return keep(item)
        if isinstance(item, (torch.dtype, torch.device, torch.Size)):
            return item
        if depth > MAX_DEPTH:
            raise _Refused(
                lambda where: f"{where[:120]}… holds itself or is nested too deeply to be saved."
            )
        if kind is not dict and omegaconf is not None and omegaconf.OmegaConf.is_config(item):
            item = omegaconf.OmegaConf.to_container(item, resolve=True)
        if isinstance(item, (dict, Mapping)):  # dict first, which costs less
            return mapping(item, depth)
        if isinstance(item, (list, tuple)):
            if _are_plain(item):  # as an optimizer's numbers of parameters
                return list(item) if isinstance(item, list) else tuple(item)
            parts = []
            for i, part in enumerate(item):
                try:
                    parts.append(convert(part, depth + 1))
                except _Refused as refused:
                    refused.inside(f"[{i}]")
                    raise
            return parts if isinstance(item, list) else tuple(parts)
        if isinstance(item, (set, frozenset)):
            return {key(part) for part in item}
        if isinstance(item, bytearray):
            return bytearray(item)
        if numpy is not None and isinstance(item, numpy.generic):
            number = item.item()
            # Not long doubles, and not dates, which may be given as numbers.
            if type(number) in PLAIN and item.dtype.kind not in "mM":
                return number
        if numpy is not None and isinstance(item, numpy.ndarray):
            if hasattr(item, "mask"):
                raise _Refused(
                    lambda where: (
                        f"{where} is a masked array, which would lose its mask: save "
                        ".filled() or .data and .mask."
                    )
                )
            # TypeError: object, text, date and foreign-endian arrays have no tensor
            with contextlib.suppress(TypeError, ValueError):
                return torch.from_numpy(numpy.array(item, order="C"))
            dtype = item.dtype
            raise _Refused(
                lambda where: (
                    f"{where} is a numpy array of dtype {dtype}, which no tensor can hold. "
                    f"{_ALLOWED}"
                )
            )
        for base in (int, float, str):  # enumerations of numbers or text
            if isinstance(item, base):
                return base.__str__(item) if base is str else convert(base(item), depth)
        raise _not_allowed(item)

    try:
        return convert(value, 0)
    except _Refused as refused:
        raise TypeError(refused.text(path)) from None


class _Refused(Exception):
    """Something cannot be saved. Its place is put together on the way out, if ever."""

    def __init__(self, describe: Callable[[str], str]) -> None:
        self._describe = describe
        self._steps: list[str] = []

    def inside(self, step: str) -> None:
        """Add the step from a container to the part in which it was met."""
        self._steps.append(step)

    def text(self, path: str) -> str:
        """What is wrong, and where."""
        return self._describe(path + "".join(reversed(self._steps)))


def _is_usual(metadata: object) -> bool:
    """Whether these are versions of modules, as they nearly always are."""
    return type(metadata) is OrderedDict and all(
        type(part) is dict and PLAIN.issuperset(map(type, part.values()))
        for part in metadata.values()
    )


def _are_plain(parts: Collection[object]) -> bool:
    """Whether nothing of this sequence has to be looked at alone."""
    kinds = set(map(type, parts))
    if kinds == {int}:
        most = 1 << _MOST_BITS
        return -most < min(parts) and max(parts) < most  # type: ignore[type-var, operator]
    return int not in kinds and kinds <= PLAIN


def _is_safe(kind: type) -> bool:
    """Whether `weights_only` reads a class of tensors: jagged ones, and what the user allowed."""
    if kind.__module__ == "torch.nested._internal.nested_tensor":
        return True
    from torch import serialization

    get = getattr(serialization, "get_safe_globals", None)  # since torch 2.5
    return get is not None and kind in get()


def _not_allowed(item: object) -> _Refused:
    name = type_name(item)
    return _Refused(lambda where: f"{where} is a {name}. {_ALLOWED}")


_ALLOWED = (
    "A state holds tensors, arrays of numbers, numbers, text, bytes, None, and lists, tuples, "
    "sets and dicts of them: all else could be read back only by running code from the file. "
    "Convert it first, or leave it out."
)


def type_name(value: object) -> str:
    """Full name of a value's class, for errors and files."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return module + kind.__qualname__


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


# --- files -----------------------------------------------------------------------------------


def write_torch(
    path: Path,
    content: object,
    beside: Callable[[], None] | None = None,
    check: Callable[[], None] | None = None,
) -> None:
    """Write content with `torch.save`: durable, checksummed, the old file kept until it is.

    Args:
        path: The file; its folder is made.
        content: What `saveable` gave.
        beside: Called in another thread while the content is written.
        check: See `write_file`.

    Raises:
        OSError: If it could not be written; the text has the path and the free space.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, check) as temporary, _checksums():
        try:
            with sent_ahead(temporary, beside):
                torch.save(content, temporary)
        except RuntimeError as error:  # what torch's writer in C++ raises for a full disk
            if not any(name in str(error) for name in _WRITER):
                raise
            free = shutil.disk_usage(path.parent).free
            raise OSError(
                errno.ENOSPC if free < 1 << 20 else errno.EIO,
                f"Could not write ({error}); {free / 1e6:.0f} MB are free there. "
                "Files written before are untouched",
                os.fspath(path),
            ) from error


_checksum_lock = threading.Lock()
_checksum_users: list[bool] = []  # saves under way, and whether the program's choice was no


def _renew_lock() -> None:
    """A child may be forked while a thread holds the lock, which does not exist in the child."""
    global _checksum_lock
    _checksum_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_lock)


@contextlib.contextmanager
def _checksums() -> Iterator[None]:
    """Write checksums, whatever the program chose for its own files."""
    from torch import serialization

    get = getattr(serialization, "get_crc32_options", None)  # since torch 2.6
    if get is None:
        yield
        return
    with _checksum_lock:  # a checkpoint may be written in the background meanwhile
        _checksum_users.append(not get())
        serialization.set_crc32_options(True)
    try:
        yield
    finally:
        with _checksum_lock:
            # The first of those under way at once knows the program's choice, and passes it on.
            chose_no = _checksum_users.pop(0)
            if _checksum_users:
                _checksum_users[0] = chose_no
            else:
                serialization.set_crc32_options(not chose_no)


def read_torch(path: Path, *, unsafe: bool = False) -> object:
    """Read a file of `write_torch` onto the CPU, after its checksums were compared.

    Args:
        path: The file.
        unsafe: Unpickle arbitrary objects, which runs code from the file. For old files of your
            own only.

    Raises:
        DamagedFileError: If the bytes are not those that were written.
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds what cannot be read without running code.
    """
    from pickle import UnpicklingError

    import torch

    if not unsafe:
        check_archive(path)
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=not unsafe)
    except RuntimeError as error:
        if "PytorchStreamReader" not in str(error):  # of memory, say
            raise
        raise DamagedFileError(f"{path} is damaged: {str(error)[:200]}") from error
    except UnpicklingError as error:  # its bytes are right, so an older one may be as unreadable
        found = re.search(
            r"(?:Unsupported (?:global|class|operand)|WeightsUnpickler).*", str(error)
        )
        raise ValueError(
            f"{path} holds what is not read without running code from the file"
            f"{f' ({found[0][:200]})' if found else ''}. Where the file is your own, allow its "
            "classes first, torch.serialization.add_safe_globals([TheClass]), or read it with "
            "load_model(…, unsafe=True)."
        ) from error
    return content


def check_archive(path: Path) -> None:
    """Compare a zip file's checksums, which `torch.load` does not do.

    torch is built without them (MINIZ_DISABLE_ZIP_READER_CRC32_CHECKS): a flipped bit in the
    weights goes unnoticed.

    Raises:
        DamagedFileError: If a checksum differs or the file is torn.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            fault = archive.testzip()
            # No checksum covers this bit, and torch reads garbage from a file marked a directory.
            marked = [info.filename for info in archive.infolist() if info.external_attr & 0x10]
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EIO):  # EINVAL: an offset that makes no sense
            raise
        raise DamagedFileError(f"{path} cannot be read: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile lets struct, zlib, unicode and index errors through
        raise DamagedFileError(f"{path} is damaged: {error or type(error).__name__}") from error
    if fault is not None:
        raise DamagedFileError(f"{path} is damaged: the checksum of {fault} differs.")
    if marked:
        raise DamagedFileError(f"{path} is damaged: {marked[0]} is marked as a directory.")


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
    settings: "Settings",
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
