"""Your rows to the JSON of ``instances``: lists, dicts, NumPy arrays, pandas and Polars frames.

Between a caller's table and a prediction's body. Frames are known by their methods; a frame whose
columns have names travels as named rows, one whose columns are numbered travels as plain rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from warren.cells import Cell, NotACell, cell
from warren.errors import InvalidRows

Rows = Any
"""A list of dicts or of lists, one dict, a two-dimensional NumPy array, a pandas or a Polars frame."""

PlainRow = list[Cell] | dict[str, Cell]
"""A row as it travels."""


def encode(rows: Rows) -> bytes:
    """The JSON array of all rows. Raises InvalidRows, which names the first cell that can't travel."""
    return msgspec.json.encode(plain(rows))


def plain(rows: Rows, first: int = 0) -> list[PlainRow]:
    """The rows as lists and dicts of JSON values; ``first`` is the number errors call the first row."""
    if is_pandas(rows):
        return _of_columns([str(name) for name in rows.columns], _pandas_columns(rows), first, named=_named(rows))
    if is_polars(rows):
        return _of_columns(list(rows.columns), [column.to_list() for column in rows.get_columns()], first, named=True)
    if is_array(rows):
        return _of_array(rows, first)
    if isinstance(rows, Mapping):
        return [_row(rows, first)]
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise InvalidRows(f"Rows are a list of dicts or lists, an array or a frame, not a {type(rows).__name__}.")
    return [_row(row, number) for number, row in enumerate(rows, first)]


def slices(rows: Rows, size: int) -> Iterator[Rows]:
    """Parts of at most ``size`` rows, in order. An iterator of rows is read as far as it is needed."""
    if is_pandas(rows):
        yield from (rows.iloc[start : start + size] for start in range(0, len(rows), size))
    elif is_polars(rows):
        yield from (rows.slice(start, size) for start in range(0, rows.height, size))
    elif isinstance(rows, Mapping):
        yield [rows]
    elif is_array(rows) or isinstance(rows, Sequence):
        yield from (rows[start : start + size] for start in range(0, len(rows), size))
    else:
        iterator = iter(rows)
        while part := list(itertools.islice(iterator, size)):
            yield part


def is_pandas(value: Any) -> bool:
    """Whether it is a pandas frame."""
    return hasattr(value, "iloc") and hasattr(value, "dtypes") and hasattr(value, "columns")


def is_polars(value: Any) -> bool:
    """Whether it is a Polars frame. Raises InvalidRows for a lazy one."""
    if hasattr(value, "collect_schema") and hasattr(value, "collect"):
        raise InvalidRows("A lazy frame has no rows yet; give frame.collect().")
    return hasattr(value, "get_columns") and hasattr(value, "height")


def is_array(value: Any) -> bool:
    """Whether it is a NumPy array."""
    return hasattr(value, "__array__") and hasattr(value, "tolist") and hasattr(value, "dtype")


def _named(frame: Any) -> bool:
    return not all(isinstance(name, int) for name in frame.columns)


def _pandas_columns(frame: Any) -> list[list[Any]]:
    # Missing cells of a float column come as NaN, of any other as None, NaT or NA: all are cells.
    return [frame.iloc[:, place].tolist() for place in range(len(frame.columns))]


def _of_columns(names: list[str], columns: list[list[Any]], first: int, *, named: bool) -> list[PlainRow]:
    if len(set(names)) != len(names):
        raise InvalidRows("Two columns of the frame have the same name; rename one.")
    cleaned = [_column(name, values, first) for name, values in zip(names, columns, strict=True)]
    rows = zip(*cleaned, strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows] if named else [list(row) for row in rows]


def _column(name: str, values: list[Any], first: int) -> list[Cell]:
    if set(map(type, values)) <= {str, int, bool, type(None)}:
        return values
    return [_cell(value, number, name) for number, value in enumerate(values, first)]


def _of_array(array: Any, first: int) -> list[PlainRow]:
    if array.ndim != 2:
        hint = "; give array.reshape(1, -1) for one row" if array.ndim == 1 else ""
        raise InvalidRows(f"An array of rows has two dimensions, this one has {array.ndim}{hint}.")
    if array.dtype.kind in "biu":
        integers: list[PlainRow] = array.tolist()
        return integers
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]")
    return [_row(row, number) for number, row in enumerate(array.tolist(), first)]


def _row(row: Any, number: int) -> PlainRow:
    if isinstance(row, Mapping):
        return {_name(name, number): _cell(value, number, name) for name, value in row.items()}
    if isinstance(row, str | bytes) or not isinstance(row, Iterable):
        raise InvalidRows(f"rows[{number}] is a {type(row).__name__}; a row is a list or a dict of cells.")
    return [_cell(value, number, place) for place, value in enumerate(row)]


def _name(name: Any, number: int) -> str:
    if not isinstance(name, str):
        raise InvalidRows(f"rows[{number}] has a column whose name is a {type(name).__name__}; names are texts.")
    return name


def _cell(value: Any, number: int, place: object) -> Cell:
    try:
        return cell(value)
    except NotACell as error:
        where = f"[{place}]" if isinstance(place, int) else f".{place}"
        raise InvalidRows(f"rows[{number}]{where} {error}.") from None
