"""Which values a file for `torch.load(weights_only=True)` may hold.

Anything else is refused with its key path, so that no file has to be trusted later.
"""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from torch import Tensor

MAX_DEPTH = 200  # deeper nesting is taken for a container that holds itself
PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))  # all immutable
_MOST_BITS = 8 * 254  # of a number; weights_only reads none of more than 255 bytes


def same_memory(tensor: Tensor) -> Tensor:
    """The tensor to save in the place of one: the same memory, without its gradient's history."""
    return tensor.detach()


def saveable(
    value: object, path: str = "state", keep: Callable[[Tensor], Tensor] = same_memory
) -> object:
    """Reduce a value to what `torch.load(weights_only=True)` reads.

    Numpy scalars become numbers, numpy arrays tensors, OmegaConf containers plain ones, named
    tuples tuples. Containers are new ones; tensors are what `keep` returns for them, by default
    the same memory: write them before the next step changes them.

    Args:
        value: Tensors, numbers, text, bytes, None, and containers of them.
        path: What to call the value in errors.
        keep: Called with each tensor; returns the one to save in its place.

    Raises:
        TypeError: If the value holds anything else; the text names the key path.
    """
    from .._optional import torch

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
        if kind is dict and depth <= MAX_DEPTH:  # first: an optimizer has one per parameter
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
            if _are_plain(item):  # such as an optimizer's parameter numbers
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
            # Not long doubles, and not dates, which `item` may give as numbers.
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
    """Something cannot be saved. Its key path is put together on the way out."""

    def __init__(self, describe: Callable[[str], str]) -> None:
        self._describe = describe
        self._steps: list[str] = []

    def inside(self, step: str) -> None:
        """Add the step from a container to the part that holds it."""
        self._steps.append(step)

    def text(self, path: str) -> str:
        """What is wrong, and where."""
        return self._describe(path + "".join(reversed(self._steps)))


def _is_usual(metadata: object) -> bool:
    """Whether these are the versions of modules, as is nearly always the case."""
    return type(metadata) is OrderedDict and all(
        type(part) is dict and PLAIN.issuperset(map(type, part.values()))
        for part in metadata.values()
    )


def _are_plain(parts: Collection[object]) -> bool:
    """Whether no part of this sequence needs to be converted or checked by itself."""
    kinds = set(map(type, parts))
    if kinds == {int}:
        most = 1 << _MOST_BITS
        return -most < min(parts) and max(parts) < most  # type: ignore[type-var, operator]
    return int not in kinds and kinds <= PLAIN


def _is_safe(kind: type) -> bool:
    """Whether `weights_only` reads a class of tensors: jagged ones, and those the user allowed."""
    if kind.__module__ == "torch.nested._internal.nested_tensor":
        return True
    from .._optional import torch

    get = getattr(torch.serialization, "get_safe_globals", None)  # since torch 2.5
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
    return class_name(type(value))


def class_name(kind: type) -> str:
    """Full name of a class."""
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return module + kind.__qualname__
