"""Results of a run in files that other programs open: YAML, JSON, CSV, Parquet, npy.

Either what is read back equals what was saved, in type, dtype and index, or saving is refused.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import cast

from .._files.append_files import read_file
from .._files.durable import Check, atomic_path, make_folder, write_file
from .._files.json_files import NewerFileError, read_json
from .._files.paths import missing_file_error, path_inside
from .._files.plain_data import SPECIAL_NUMBERS, NotPlain, PlainRules, plain_data
from .._files.saveable import type_name
from .._files.yaml_files import parse_yaml, yaml_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy
    import pandas

SCHEMA_SUFFIX = ".schema.json"


def save_results(folder: Path, data: object, name: str, *, check: Check | None = None) -> Path:
    """Write results to `results/NAME` of a run folder; the suffix names the format.

    | data | suffixes (the first is the default) |
    |---|---|
    | dict, list | `.yaml`, `.yml`, `.json` |
    | DataFrame | `.csv`, `.parquet` |
    | numpy array | `.npy` |

    Inside a dict, numpy and torch scalars become plain numbers; arrays, tensors and tuples become
    lists. The dtypes and index of a CSV file are in `NAME.csv.schema.json` beside it.

    Args:
        folder: The run folder.
        data: The results.
        name: Relative name, with or without suffix; `"fold1/scores"` makes a folder.
        check: See `write_file`.

    Returns:
        The file.

    Raises:
        TypeError: If the data, or something in it, would not be read back equal; the text says
            where, and what to do.
        ValueError: If the suffix is not one of the data's, or the name leaves the run folder.
        ImportError: If Parquet is asked for and pyarrow is missing.
        OSError: If it could not be written.
    """
    path = results_path(folder, data, name)
    save = FORMATS[path.suffix][0]
    make_folder(path.parent, check)
    save(path, data, check)
    return path


def results_path(folder: Path, data: object, name: str) -> Path:
    """The file that `save_results` writes this data to.

    Raises:
        TypeError: If data of this type cannot be written.
        ValueError: If the suffix is not one of the data's, or the name leaves the run folder.

    Examples:
        >>> results_path(Path("run"), {"accuracy": 0.9}, "test").as_posix()
        'run/results/test.yaml'
    """
    path = path_inside(folder / "results", name)
    suffixes = _suffixes_of(data)
    if path.suffix not in FORMATS:
        return path.with_name(path.name + suffixes[0])
    if path.suffix not in suffixes:
        raise ValueError(
            f"A {type_name(data)} is not written as {path.suffix} ({name!r}). "
            f"Suffixes for it: {', '.join(suffixes)}."
        )
    return path


def load_results(folder: Path, name: str) -> object:
    """Read what `save_results` wrote.

    Args:
        folder: The run folder.
        name: The name given to `save_results`; the suffix may be left out where one file fits.

    Raises:
        FileNotFoundError: If there is no such file; names those that exist.
        ValueError: If several files fit, or the file is damaged.
    """
    path = path_inside(folder / "results", name)
    if path.suffix in FORMATS:
        candidates = [path]
    else:
        candidates = [path.with_name(path.name + suffix) for suffix in FORMATS]
    files = [candidate for candidate in candidates if candidate.is_file()]
    if not files:
        raise missing_file_error(path)
    if len(files) > 1:
        names = ", ".join(repr(file.name) for file in files)
        raise ValueError(f"{name!r} could be {names}. Give the suffix.")
    load = FORMATS[files[0].suffix][1]
    try:
        return load(files[0])
    except (NewerFileError, ImportError):
        raise
    except Exception as error:  # of a damaged file, numpy, pandas and pyarrow raise any
        fact = f"{error!s:.500}" or type(error).__name__
        raise ValueError(f"{files[0]} cannot be read: {fact}") from error


def saved_files(folder: Path, suffixes: Collection[str] | None = None) -> dict[str, Path]:
    """The files that `save_results` wrote, by the name that `load_results` takes.

    Args:
        folder: The run folder.
        suffixes: Only files with these suffixes; None: all that `save_results` writes.

    Returns:
        Sorted by path; the names have no suffix where that is enough.
    """
    suffixes = FORMATS if suffixes is None else suffixes
    root = folder / "results"
    files: dict[str, Path] = {}
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        name = path.relative_to(root)
        if path.suffix not in suffixes or path.name.endswith(SCHEMA_SUFFIX):
            continue
        if any(part.startswith(".") for part in name.parts):  # is being written
            continue
        stem = name.with_suffix("").as_posix()
        files[name.as_posix() if stem in files else stem] = path
    return files


class SavedResults(Mapping[str, object]):
    """The results of a run by name, each read when it is asked for.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> object:
        try:
            return load_results(self._folder, name)
        except FileNotFoundError as error:
            raise KeyError(str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(saved_files(self._folder))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<results {', '.join(self) or 'none'}>"


def _suffixes_of(data: object) -> tuple[str, ...]:
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return (".csv", ".parquet")
    if numpy is not None and isinstance(data, numpy.ndarray):
        return (".npy",)
    if isinstance(data, (Mapping, list, tuple)) or _is_config(data):
        return (".yaml", ".yml", ".json")
    cures = {"Series": "call .to_frame() first", "Tensor": "call .numpy(force=True) first"}
    cure = cures.get(type(data).__name__, "put it into a dict under a name")
    raise TypeError(
        f"Results are a dict, a list, a DataFrame or a numpy array, not {type_name(data)}: {cure}."
    )


def _is_config(data: object) -> bool:
    omegaconf = sys.modules.get("omegaconf")
    return omegaconf is not None and omegaconf.OmegaConf.is_config(data)


# --- dict and list ---------------------------------------------------------------------------


def to_plain(value: object, path: str = "results", *, as_json: bool = False) -> object:
    """Convert a value to None, bool, int, float, str, list and dict.

    Args:
        value: The value; numpy and torch scalars become numbers, arrays and tensors lists.
        path: What to call it in errors.
        as_json: Whether to write NaN and infinities as text, and refuse what JSON would confuse.

    Raises:
        TypeError: If it holds anything else; the text names the key path.

    Examples:
        >>> to_plain({"epoch": (1, 2)})
        {'epoch': [1, 2]}
    """
    return plain_data(value, path, _IN_JSON if as_json else _IN_YAML)


def _listed(value: object) -> object:
    if type(value).__module__.partition(".")[0] in ("numpy", "torch") and hasattr(value, "tolist"):
        items: object = value.tolist()
        if type(items) is not type(value):  # not numpy's long double
            return items
    raise NotPlain


def _refusal(path: str, value: object) -> str:
    return (
        f"{path} is a {type_name(value)}. Results in YAML and JSON are numbers, text, None, "
        "lists and dicts of them: convert it, or save it in a file of its own."
    )


def _key(key: object, path: str) -> object:
    name = plain_data(key, f"the key {key!r} of {path}", _IN_YAML)
    if isinstance(name, (list, dict)):
        raise TypeError(f"The key {key!r} of {path} is a {type_name(key)}; use text or a number.")
    return name


def _json_key(key: object, path: str) -> object:
    name = _key(key, path)
    if not isinstance(name, str):
        raise TypeError(
            f"The key {name!r} of {path} is not text, and JSON would turn it into text. Save it as "
            ".yaml, which keeps it."
        )
    return name


def _json_text(text: str, path: str) -> str:
    if text in SPECIAL_NUMBERS:
        raise TypeError(
            f"{path} is the text {text!r}, which in JSON stands for the number. "
            "Save it as .yaml, which tells them apart."
        )
    return text


# Unlike a configuration, results are refused where they would not be read back equal: so members
# of enumerations become their values, and text that JSON would confuse is an error.
_PLAIN = frozenset([type(None), bool, int])
_IN_YAML = PlainRules(_PLAIN | {float, str}, convert=_listed, key=_key, refusal=_refusal)
_IN_JSON = PlainRules(_PLAIN, convert=_listed, key=_json_key, refusal=_refusal, text=_json_text)


def _save_yaml(path: Path, data: object, check: Check | None) -> None:
    write_file(path, yaml_text(to_plain(data)), check=check)


def _load_yaml(path: Path) -> object:
    return parse_yaml(read_file(path).decode())


def _save_json(path: Path, data: object, check: Check | None) -> None:
    text = json.dumps(to_plain(data, as_json=True), indent=1, ensure_ascii=False, allow_nan=False)
    write_file(path, text + "\n", check=check)


def _load_json(path: Path) -> object:
    def numbers(value: object) -> object:
        if isinstance(value, dict):
            return {key: numbers(part) for key, part in value.items()}
        if isinstance(value, list):
            return [numbers(part) for part in value]
        return SPECIAL_NUMBERS.get(value, value) if isinstance(value, str) else value

    try:
        return numbers(json.loads(read_file(path)))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


# --- numpy -----------------------------------------------------------------------------------


def _save_npy(path: Path, data: object, check: Check | None) -> None:
    from .._optional import numpy

    assert isinstance(data, numpy.ndarray)
    if isinstance(data, numpy.ma.MaskedArray):
        raise TypeError("A masked array would lose its mask: save .filled() or .data and .mask.")
    if data.dtype.hasobject:
        raise TypeError(
            f"An array of dtype {data.dtype} can be stored by pickle only. Convert it to a "
            "dtype of numbers or text (.astype(str)), or save a list."
        )
    with atomic_path(path, check) as temporary, temporary.open("wb") as file:
        numpy.save(file, data, allow_pickle=False)


def _load_npy(path: Path) -> numpy.ndarray:
    from .._optional import numpy

    array: numpy.ndarray = numpy.load(path, allow_pickle=False)
    return array


# --- DataFrame -------------------------------------------------------------------------------


def _save_csv(path: Path, data: object, check: Check | None) -> None:
    from .tables import csv_and_schema

    text, schema = csv_and_schema(data)  # type: ignore[arg-type]
    write_file(path, text, check=check)
    schema_path = path.with_name(path.name + SCHEMA_SUFFIX)
    write_file(schema_path, json.dumps(schema, indent=1) + "\n", check=check)


def _load_csv(path: Path) -> pandas.DataFrame:
    from .._optional import pandas
    from .tables import SCHEMA, read_table

    schema = path.with_name(path.name + SCHEMA_SUFFIX)
    if not schema.is_file():  # another program's
        return pandas.read_csv(path)
    return read_table(
        read_file(path).decode(), cast(dict[str, object], read_json(schema, schema=SCHEMA))
    )


def _save_parquet(path: Path, data: object, check: Check | None) -> None:
    from .tables import parquet_bytes

    write_file(path, parquet_bytes(data), check=check)  # type: ignore[arg-type]


def _load_parquet(path: Path) -> pandas.DataFrame:
    from .tables import read_parquet

    return read_parquet(io.BytesIO(read_file(path)))


Save = Callable[[Path, object, Check | None], None]
Load = Callable[[Path], object]
FORMATS: dict[str, tuple[Save, Load]] = {
    ".yaml": (_save_yaml, _load_yaml),
    ".yml": (_save_yaml, _load_yaml),
    ".json": (_save_json, _load_json),
    ".csv": (_save_csv, _load_csv),
    ".parquet": (_save_parquet, _load_parquet),
    ".npy": (_save_npy, _load_npy),
}
