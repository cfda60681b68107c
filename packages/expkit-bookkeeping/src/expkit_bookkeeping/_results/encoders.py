"""Encoders (label encoders, scalers, vectorizers) in files that need no unpickling.

An encoder with `state_dict` or `to_dict` says itself what it consists of. A scikit-learn
estimator is written attribute by attribute as JSON, arrays with their dtype; it is read into an
object of the same class, which the caller passes.

skops is as safe, but would replace twenty lines of this and be a second format: `to_dict` and older
files need the JSON anyway, and skops refuses keys that are tuples.
"""

from __future__ import annotations

import base64
import json
import math
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from .._checkpoints.states import load_into, state_of
from .._files.append_files import read_file
from .._files.durable import Check, make_folder, remove_file, write_file
from .._files.json_files import NewerFileError, read_json
from .._files.paths import missing_file_error, path_inside
from .._files.saveable import MAX_DEPTH, class_name, type_name
from .._files.torch_archives import read_torch, write_torch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import numpy

T = TypeVar("T")
SUFFIXES = (".json", ".pt", ".pkl")
FORMAT = "expkit-encoder"
SCHEMA = 1
_ADVICE = "pickle=True saves it as it is, in a file that runs code when it is loaded."


def save_encoder(
    folder: Path,
    encoder: object,
    name: str,
    *,
    pickle: bool = False,
    check: Check | None = None,
) -> Path:
    """Write an encoder to `states/NAME.json`, or `.pt` if its state holds tensors.

    Args:
        folder: The run folder.
        encoder: An object with `state_dict`/`load_state_dict`, `to_dict`/`from_dict` or
            scikit-learn's `get_params`.
        name: Its name, without suffix.
        pickle: Whether to pickle it instead, to `states/NAME.pkl`. Loading that runs code from
            the file.
        check: See `write_file`.

    Raises:
        TypeError: If it cannot be written without pickle; says which part and why.
        ValueError: If the name leaves the folder.
        OSError: If it could not be written.
    """
    path = encoder_path(folder, name)
    make_folder(path.parent, check)
    if pickle:
        import pickle as pickling

        suffix = ".pkl"
        write_file(path.with_name(path.name + suffix), pickling.dumps(encoder), check=check)
    elif hasattr(encoder, "state_dict") and hasattr(encoder, "load_state_dict"):
        suffix = ".pt"
        write_torch(path.with_name(path.name + suffix), state_of(encoder, name), check=check)
    else:
        suffix = ".json"
        data = {"format": FORMAT, "schema": SCHEMA, **_described(encoder, name)}
        text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
        write_file(path.with_name(path.name + suffix), text + "\n", check=check)
    for other in SUFFIXES:
        if other != suffix:  # written earlier in another way: one name is one encoder
            remove_file(path.with_name(path.name + other), check)
    return path.with_name(path.name + suffix)


def load_encoder(folder: Path, encoder: type[T] | T, name: str, *, pickle: bool = False) -> T:
    """Read an encoder of `save_encoder` into an object of its class.

    Args:
        folder: The run folder.
        encoder: The class, or an object of it, which is filled.
        name: The name that it was saved under.
        pickle: Whether a pickled one may be loaded, which runs code from the file.

    Returns:
        The encoder; the object that was passed, unless `from_dict` makes a new one.

    Raises:
        FileNotFoundError: If there is no such encoder; names the files that exist.
        TypeError: If the file holds another class.
        ValueError: If the file is damaged, or a pickle and `pickle` is not set.
    """
    path = encoder_path(folder, name)
    candidates = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise missing_file_error(candidates[0])
    if file.suffix == ".pkl":
        if not pickle:
            raise ValueError(f"{file} is a pickle, which runs code when loaded: pass pickle=True.")
        import pickle as pickling

        loaded = pickling.loads(read_file(file))
        _check_class(file, type_name(loaded), encoder)
        return loaded  # type: ignore[no-any-return]
    if file.suffix == ".pt":
        target = encoder() if isinstance(encoder, type) else encoder
        load_into(target, read_torch(file), name)
        return target
    data = _read_json(file)
    kind = encoder if isinstance(encoder, type) else type(encoder)
    _check_class(file, str(data["class"]), encoder)
    content = _decode(file, data["content"])
    if data["made_by"] == "to_dict":
        loaded = encoder.from_dict(content)  # type: ignore[union-attr]
        return encoder if loaded is None else loaded  # type: ignore[return-value]
    version = _version_of(kind)
    if version != data["version"]:
        warnings.warn(
            f"{file} was written by version {data['version']} of "
            f"{kind.__module__.partition('.')[0]}, this is {version}: compare a few outputs "
            "before you rely on it.",
            stacklevel=3,
        )
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{file} is damaged: it holds no attributes but {content!r:.80}.")
    filled: T = object.__new__(encoder) if isinstance(encoder, type) else encoder
    vars(filled).clear()
    vars(filled).update(content)
    return filled


_KEYS = {"class", "version", "content", "made_by"}


def _read_json(file: Path) -> dict[str, object]:
    try:
        data: Any = read_json(file, schema=SCHEMA, depth=5 * MAX_DEPTH)
        if data["format"] != FORMAT or not data.keys() >= _KEYS:
            raise ValueError("it is another program's")
    except NewerFileError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged or no encoder of expkit: {error}.") from error
    return data  # type: ignore[no-any-return]


def _decode(file: Path, content: object) -> object:
    try:
        return _decoded(content)
    except Exception as error:  # of a damaged file, numpy and scikit-learn raise any
        fact = f"{error!s:.500}" or type(error).__name__
        raise ValueError(f"{file} cannot be read back: {fact}.") from error


def encoder_path(folder: Path, name: str) -> Path:
    """Path of an encoder without its suffix."""
    path = path_inside(folder / "states", name)
    return path.with_name(path.stem) if path.suffix in SUFFIXES else path


def _check_class(file: Path, stored: str, encoder: object) -> None:
    kind = encoder if isinstance(encoder, type) else type(encoder)
    if stored != class_name(kind):
        raise TypeError(f"{file} holds a {stored}, not a {class_name(kind)}.")


def _version_of(kind: type) -> str | None:
    package = sys.modules.get(kind.__module__.partition(".")[0])
    return getattr(package, "__version__", None)


def _described(encoder: object, name: str) -> dict[str, object]:
    kind = type(encoder)
    if isinstance(encoder, type):
        raise TypeError(f"{name} is the class {class_name(encoder)}; save an object of it.")
    head: dict[str, object] = {"class": class_name(kind), "version": _version_of(kind)}
    if hasattr(encoder, "to_dict") and hasattr(encoder, "from_dict"):
        return {**head, "made_by": "to_dict", "content": _encoded(encoder.to_dict(), name)}
    if callable(getattr(encoder, "get_params", None)) and hasattr(encoder, "__dict__"):
        # All attributes, as what an estimator learned is not only in names that end with "_"
        # (OneHotEncoder._infrequent_enabled). Its parameters are among them.
        return {**head, "made_by": "attributes", "content": _encoded(vars(encoder), name)}
    raise TypeError(
        f"{name} is a {class_name(kind)}, which has no state_dict/load_state_dict, no "
        f"to_dict/from_dict and no scikit-learn get_params. Give it one of them; or {_ADVICE}"
    )


# --- values as JSON, each exactly ------------------------------------------------------------


def _encoded(value: object, path: str, depth: int = 0) -> object:
    """Encode a value as strict JSON that `_decoded` turns back into the same value and type.

    What JSON lacks becomes an object with one key that starts with `$`.
    """
    numpy = sys.modules.get("numpy")
    if value is None or type(value) in (bool, int, str):
        return value
    if depth > MAX_DEPTH:
        raise TypeError(f"{path[:120]}… holds itself or is nested too deeply to be saved.")
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (list, tuple, set, frozenset)) and type(value) in _SEQUENCES.values():
        parts = [_encoded(part, f"{path}[{i}]", depth + 1) for i, part in enumerate(value)]
        return parts if isinstance(value, list) else {f"${type(value).__name__}": parts}
    if type(value) in (dict, OrderedDict):
        assert isinstance(value, dict)
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: _encoded(part, f"{path}.{key}", depth + 1) for key, part in value.items()}
        # JSON would turn the key 0 into "0".
        return {
            "$dict": [
                [
                    _encoded(key, f"{path}[{key!r}]", depth + 1),
                    _encoded(part, f"{path}[{key!r}]", depth + 1),
                ]
                for key, part in value.items()
            ]
        }
    if numpy is not None:
        if isinstance(value, numpy.ndarray) and type(value) is numpy.ndarray:
            return {"$array": _encoded_array(value, path, depth)}
        if isinstance(value, numpy.generic):
            return {"$scalar": _encoded_array(numpy.asarray(value), path, depth)}
        if isinstance(value, type) and issubclass(value, numpy.generic):
            return {"$scalar_type": numpy.dtype(value).str}
        if isinstance(value, numpy.dtype) and value.names is None:
            return {"$dtype": value.str}
    if type(value) is slice:
        ends = [value.start, value.stop, value.step]
        return {"$slice": [_encoded(end, path, depth + 1) for end in ends]}
    kind = type(value)
    if kind.__module__.startswith("sklearn.") and callable(getattr(value, "get_params", None)):
        return {"$estimator": [class_name(kind), _encoded(vars(value), path, depth + 1)]}
    raise TypeError(
        f"{path} is a {class_name(kind)}, which cannot be written as data. Leave it out of what "
        f"to_dict returns; or {_ADVICE}"
    )


_SEQUENCES: dict[str, type] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def _encoded_array(array: object, path: str, depth: int) -> dict[str, object]:
    from .._optional import numpy

    assert isinstance(array, numpy.ndarray)
    head = {"dtype": array.dtype.str, "shape": list(array.shape)}
    if array.dtype.kind in "biufcmM":
        return {**head, "base64": base64.b64encode(array.tobytes()).decode()}
    if array.dtype.kind in "OU":
        values = array.ravel().tolist()
        return {
            **head,
            "values": [_encoded(v, f"{path}[{i}]", depth + 1) for i, v in enumerate(values)],
        }
    raise TypeError(f"{path} is an array of dtype {array.dtype}, which cannot be written as data.")


def _decoded(value: object) -> object:
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), "")
    if not tag.startswith("$"):
        return {key: _decoded(part) for key, part in value.items()}
    return _DECODERS[tag](value[tag])


def _decoded_array(data: Mapping[str, object]) -> object:
    from .._optional import numpy

    dtype, shape = numpy.dtype(str(data["dtype"])), data["shape"]
    if "base64" in data:
        raw = base64.b64decode(str(data["base64"]))
        return numpy.frombuffer(raw, dtype).reshape(shape).copy()  # type: ignore[call-overload]
    values = _decoded(data["values"])
    assert isinstance(values, list)
    array = numpy.empty(len(values), dtype)
    for index, item in enumerate(values):  # not numpy.array: that would look into tuples
        array[index] = item
    return array.reshape(shape)  # type: ignore[call-overload]


def _decoded_estimator(data: tuple[str, object]) -> object:
    from .._optional import import_optional

    name, content = data
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn."):
        raise ValueError(f"An inner estimator must be of scikit-learn, not {name!r}.")
    kind = getattr(import_optional(module), attribute)
    if not (isinstance(kind, type) and hasattr(kind, "get_params")):
        raise ValueError(f"{name!r} is not an estimator of scikit-learn.")
    estimator: object = object.__new__(kind)
    vars(estimator).update(_decoded(content))  # type: ignore[call-overload]
    return estimator


def _decoded_dtype(text: str) -> numpy.dtype[numpy.generic]:
    from .._optional import numpy

    return numpy.dtype(text)


_DECODERS: dict[str, Callable[..., object]] = {
    "$float": float,
    "$tuple": lambda parts: tuple(map(_decoded, parts)),
    "$set": lambda parts: set(map(_decoded, parts)),
    "$frozenset": lambda parts: frozenset(map(_decoded, parts)),
    "$dict": lambda pairs: {_decoded(key): _decoded(part) for key, part in pairs},
    "$array": _decoded_array,
    "$scalar": lambda data: _decoded_array(data)[()],  # type: ignore[index]
    "$dtype": _decoded_dtype,
    "$scalar_type": lambda text: _decoded_dtype(text).type,
    "$slice": lambda ends: slice(*map(_decoded, ends)),
    "$estimator": _decoded_estimator,
}
