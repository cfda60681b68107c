"""DataFrames as CSV with a schema, and as Parquet, so that they are read back equal.

CSV loses dtypes, the index, and the difference between empty text and a missing value; the schema
beside it keeps them. pandas is already imported: somebody has a DataFrame.

CSV is the default where pyarrow is installed, too: spreadsheets open it, and one program writes
the same files on all machines.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any, cast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pandas import DataFrame, Series

SCHEMA = 1
MISSING = ("", "NA", "<NA>", "NULL", "#N/A", "(missing)")  # the first that no cell has
_METADATA = b"expkit"
_OTHERWISE = "Save it as .parquet, or convert it first."


def _pandas() -> Any:
    """Pandas without its stubs, which lack some of its dtypes."""
    from .._optional import pandas

    return pandas


def csv_and_schema(frame: DataFrame) -> tuple[str, dict[str, object]]:
    """A DataFrame as CSV text and a schema with what CSV loses.

    Raises:
        TypeError: If it would not be read back equal; names the column.
    """
    pandas = _pandas()

    if isinstance(frame.columns, pandas.MultiIndex):
        raise TypeError(f"CSV has one row of column names, the table has several. {_OTHERWISE}")
    index: Any = frame.index
    is_range = _range_of(index) is not None
    levels = [] if is_range else [index.get_level_values(i) for i in range(index.nlevels)]
    cells = [level.to_series() for level in levels]
    cells += [frame.iloc[:, position] for position in range(frame.shape[1])]
    names = [f"index level {i}" for i in range(len(levels))]
    names += [f"column {name!r}" for name in frame.columns]
    described = [_described(series, name) for series, name in zip(cells, names, strict=True)]
    missing = _missing_mark(cells)
    schema: dict[str, object] = {
        "schema": SCHEMA,
        "missing": missing,
        "index": described[: len(levels)],
        "index_names": [_json_name(name, "index") for name in index.names],
        "index_range": _range_of(index),
        "index_freq": getattr(index, "freqstr", None),
        "columns": described[len(levels) :],
        "column_names": [_json_name(name, "columns") for name in frame.columns],
        "column_dtype": str(frame.columns.dtype),
        "column_range": _range_of(frame.columns),
        "columns_name": _json_name(frame.columns.name, "columns"),
    }
    labels = [str(name) if name is not None else f"index_{i}" for i, name in enumerate(index.names)]
    options: dict[str, Any] = {
        "index": not is_range,
        "index_label": labels if len(labels) > 1 else labels[0],
        "na_rep": missing,
        "lineterminator": "\n",
    }
    text = frame.to_csv(**options)
    if "\r" in text:  # Python 3.11 leaves it unquoted, and readers take it for the end of a line
        text = frame.to_csv(**options, quoting=csv.QUOTE_ALL)
    try:
        back = read_table(text, schema)
    except ValueError as error:
        raise TypeError(f"CSV would not give this table back: {error}. {_OTHERWISE}") from error
    _compare(frame, back, "CSV", _OTHERWISE)
    return text, schema


def read_table(text: str, schema: dict[str, object]) -> DataFrame:
    """The DataFrame of `csv_and_schema`.

    Raises:
        ValueError: If the text does not have the schema's columns, or a cell is not of its type.
    """
    pandas = _pandas()

    levels = cast(list[dict[str, object]], schema["index"])
    columns = cast(list[dict[str, object]], schema["columns"])
    mark = str(schema["missing"])
    count = len(levels) + len(columns)
    if count:
        raw = pandas.read_csv(
            io.StringIO(text),
            header=None,
            skiprows=0,
            dtype=str,
            na_filter=False,
            skip_blank_lines=False,
        )
        if raw.shape[1] != count:
            raise ValueError(f"it has {raw.shape[1]} columns, its schema {count}")
        raw = raw.iloc[1:]
    parsed = [
        _parsed(raw[position].tolist(), entry, mark)
        for position, entry in enumerate([*levels, *columns])
    ]
    names = cast(list[str | None], schema["index_names"])
    bounds = cast(list[int] | None, schema["index_range"])
    if bounds is not None:
        index = pandas.RangeIndex(*bounds, name=names[0])
    elif len(levels) > 1:
        index = pandas.MultiIndex.from_arrays(parsed[: len(levels)], names=names)
    else:
        index = pandas.Index(parsed[0], name=names[0])
        if schema["index_freq"] is not None:
            index.freq = schema["index_freq"]
    data = {i: pandas.Series(part, index=index) for i, part in enumerate(parsed[len(levels) :])}
    frame: DataFrame = pandas.DataFrame(data, index=index)
    labels = cast(list[object], schema["column_names"])
    if schema["column_range"] is not None:
        bounds = cast(list[int], schema["column_range"])
        frame.columns = pandas.RangeIndex(*bounds, name=schema["columns_name"])
    else:
        frame.columns = pandas.Index(
            labels, dtype=schema["column_dtype"], name=schema["columns_name"]
        )
    return frame


def _range_of(index: Any) -> list[int] | None:
    if not isinstance(index, _pandas().RangeIndex):
        return None
    return [index.start, index.stop, index.step]


def _missing_mark(cells: Sequence[Series]) -> str:
    pandas = _pandas()

    used: set[object] = set()
    for series in cells:
        if str(series.dtype) == "object" or isinstance(series.dtype, pandas.StringDtype):
            used.update(series.dropna().unique())
        elif isinstance(series.dtype, pandas.CategoricalDtype):
            used.update(series.cat.categories)
    mark = next((mark for mark in MISSING if mark not in used), None)
    if mark is None:
        raise TypeError(
            f"The table's text has all of {MISSING}, so that none can stand for a "
            f"missing value. {_OTHERWISE}"
        )
    return mark


def _described(series: Series, name: str) -> dict[str, object]:
    pandas = _pandas()

    dtype = series.dtype
    entry: dict[str, object] = {"dtype": str(dtype)}
    if isinstance(dtype, pandas.CategoricalDtype):
        values = dtype.categories.to_series()
        return {
            **entry,
            "ordered": dtype.ordered,
            "categories": [_json_name(value, name) for value in values.tolist()],
            "of": _described(values, name),
        }
    if str(dtype) == "object":
        present = series.dropna()
        not_text = next((value for value in present if type(value) is not str), None)
        if not_text is not None:
            raise TypeError(
                f"{name} holds {not_text!r} ({type(not_text).__name__}) beside other objects; CSV "
                f"keeps columns of one type. {_OTHERWISE}"
            )
        kinds = {repr(value) for value in series[series.isna()]}
        if len(kinds) > 1:
            raise TypeError(f"{name} has missing values of kinds {sorted(kinds)}. {_OTHERWISE}")
        return {**entry, "missing": next(iter(kinds), None)}
    return entry


def _json_name(name: object, where: str) -> object:
    if name is None or type(name) in (str, int, float, bool):
        return name
    item = getattr(name, "item", None)
    if item is not None and type(item()) in (int, float, bool):
        return item()
    raise TypeError(
        f"{where}: the name {name!r} is a {type(name).__name__}, and CSV keeps only text or "
        f"numbers as names. {_OTHERWISE}"
    )


def _parsed(texts: list[str], entry: dict[str, object], mark: str) -> Any:
    """Cells of one column as an array of its dtype."""
    from .._optional import numpy

    pandas = _pandas()

    dtype = str(entry["dtype"])
    if dtype == "category":
        inner = cast(dict[str, object], entry["of"])
        present = [text for text in texts if text != mark]
        values = iter(cast(list[object], list(_parsed(present, inner, mark))))
        filled = [None if text == mark else next(values) for text in texts]
        return pandas.Categorical(filled, dtype=_categorical_dtype(entry))
    if dtype == "bool":
        return numpy.array([_truth(text) for text in texts], bool)
    if dtype.startswith(("int", "uint")):
        return numpy.array([int(text) for text in texts], dtype)
    if dtype.startswith("float"):
        return numpy.array([float("nan" if text == mark else text) for text in texts], dtype)
    if dtype.startswith("complex"):
        return numpy.array([complex("nan" if text == mark else text) for text in texts], dtype)
    optional = [None if text == mark else text for text in texts]
    if dtype.startswith("datetime64"):
        stamps = pandas.to_datetime(optional, format="ISO8601", utc="," in dtype)
        return stamps.astype(dtype).array
    if dtype.startswith("timedelta64"):
        return pandas.to_timedelta(optional).astype(dtype).array
    if dtype.startswith(("Int", "UInt")):
        return pandas.array([text and int(text) for text in optional], dtype=dtype)
    if dtype.startswith("Float"):
        return pandas.array([text and float(text) for text in optional], dtype=dtype)
    if dtype == "boolean":
        return pandas.array([text and _truth(text) for text in optional], dtype=dtype)
    if dtype.startswith("str"):
        return pandas.array(optional, dtype=dtype)
    if dtype == "object":
        array = numpy.empty(len(optional), object)
        missing = {"None": None, "nan": float("nan"), "<NA>": pandas.NA, "NaT": pandas.NaT}
        array[:] = [missing[str(entry["missing"])] if text is None else text for text in optional]
        return array
    raise TypeError(f"dtype {dtype} cannot be read back from CSV. {_OTHERWISE}")


def _categorical_dtype(entry: dict[str, object]) -> Any:
    pandas = _pandas()
    inner = cast(dict[str, object], entry["of"])
    categories = pandas.Index(entry["categories"], dtype=inner["dtype"])
    return pandas.CategoricalDtype(categories, ordered=entry["ordered"])


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError(f"{text!r} is neither True nor False")
    return text == "True"


def parquet_bytes(frame: DataFrame) -> bytes:
    """A DataFrame as a Parquet file.

    Raises:
        TypeError: If it would not be read back equal; names the column.
    """
    from .._optional import parquet, pyarrow

    cure = "Convert it first, or save it as a dict."
    kinds = {type(name).__name__ for name in frame.columns if frame.columns.nlevels == 1}
    if len(kinds) > 1:
        raise TypeError(
            f"Parquet has column names of one type, the table those of {', '.join(sorted(kinds))}. "
            f"{cure}"
        )
    try:
        table = pyarrow.Table.from_pandas(frame)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise TypeError(f"Parquet cannot hold this table: {error}. {cure}") from error
    schema = {
        "columns": [
            {"dtype": str(frame.dtypes.iloc[i])}
            if str(frame.dtypes.iloc[i]) != "category"
            else _described(frame.iloc[:, i], f"column {frame.columns[i]!r}")
            for i in range(frame.shape[1])
        ],
        "column_range": _range_of(frame.columns),
        "index_freq": getattr(frame.index, "freqstr", None),
    }
    metadata = {**(table.schema.metadata or {}), _METADATA: json.dumps(schema)}
    table = table.replace_schema_metadata(metadata)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    _compare(frame, read_parquet(io.BytesIO(buffer.getvalue())), "Parquet", cure)
    return buffer.getvalue()


def read_parquet(buffer: io.BytesIO) -> DataFrame:
    """The DataFrame of `parquet_bytes`, or of another program's Parquet file.

    Raises:
        ValueError: If it is not a Parquet file.
    """
    from .._optional import parquet, pyarrow

    try:
        table = parquet.read_table(buffer)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    frame: Any = table.to_pandas()
    raw = (table.schema.metadata or {}).get(_METADATA)
    if raw is None:  # another program's
        return cast("DataFrame", frame)
    schema = json.loads(raw)
    for position, entry in enumerate(schema["columns"]):
        column = frame.iloc[:, position]
        if entry["dtype"] == "category":  # if of numbers, it was read as numbers
            frame.isetitem(position, column.astype(_categorical_dtype(entry)))
        elif entry["dtype"] == "object" and str(column.dtype) == "str":
            frame.isetitem(position, column.astype(object))  # pandas 3 reads all text as str
    if schema["column_range"] is not None:
        frame.columns = _pandas().RangeIndex(*schema["column_range"], name=frame.columns.name)
    if schema["index_freq"] is not None:
        frame.index.freq = schema["index_freq"]
    return cast("DataFrame", frame)


def _compare(frame: DataFrame, back: DataFrame, kind: str, cure: str) -> None:
    try:
        _pandas().testing.assert_frame_equal(
            frame,
            back,
            check_exact=True,
            check_column_type="exact",
            check_index_type="exact",
            check_categorical=True,
        )
    except AssertionError as error:
        fact = " ".join(str(error).split())
        raise TypeError(f"{kind} would not give this table back: {fact}. {cure}") from error
