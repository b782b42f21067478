"""Tensors of a request to typed arrays: named arrays, JSON or binary, come in, a Batch by the schema goes out.

Beside ``tables.rows``. One tensor of shape (rows, columns) holds all features in the schema's order;
or each tensor is one column, by name, in any order, and a column that is not sent is missing. A cell
means what it means in a row: NaN, null, and the texts that count as missing are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tables import batch, tensor_cells, tensor_data
from tables.batch import Batch
from tables.errors import RowErrors, TooManyRows
from tables.schema import Schema, listed
from tables.tensor_data import Values


@dataclass(frozen=True)
class Tensor:
    """One tensor as it was sent: ``data`` is a JSON array, or little-endian values where ``raw``.

    Without a ``datatype`` it is JSON whose cells say what they are, and has no ``shape`` but its own.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview
    raw: bool


class _Read(NamedTuple):
    """One tensor that was read: ``rows`` of ``width`` values."""

    name: str
    rows: int
    width: int
    values: Values


def decode(tensors: Sequence[Tensor], schema: Schema, *, max_rows: int) -> Batch:
    """Decode a request's tensors. Raises TooManyRows, or RowErrors with at most 16 places."""
    found = [_read(tensor, at) for at, tensor in enumerate(tensors)]
    rows = _rows(found, max_rows)
    if _is_table(found, schema):
        return _table(found[0], schema)
    places = _columns(found, schema)
    return by_column({name: (found[at].values, f"inputs[{at}]") for name, at in places.items()}, schema, rows)


def by_column(columns: dict[str, tuple[Values, str]], schema: Schema, rows: int) -> Batch:
    """Rows from values by the names of their columns, each with its place. Raises RowErrors."""
    numbers: list[Any] = []
    texts: list[Any] = []
    for column in schema.columns:
        given = columns.get(column.name)
        cells = tensor_cells.missing(column, rows) if given is None else tensor_cells.column(column, *given)
        (texts if column.type == "text" else numbers).append(cells)
    return Batch(batch.number_table(numbers, rows), batch.text_table(texts, rows))


def _read(tensor: Tensor, at: int) -> _Read:
    place = f"inputs[{at}]"
    if not tensor.datatype:
        return _Read(tensor.name, *tensor_data.untyped(tensor.data, place))
    if not 1 <= len(tensor.shape) <= 2:
        raise RowErrors(((f"{place}.shape", "must be [rows] or [rows, columns]"),))
    values = tensor_data.values(tensor.datatype, tensor.shape, tensor.data, raw=tensor.raw, at=place)
    return _Read(tensor.name, tensor.shape[0], tensor.shape[1] if len(tensor.shape) == 2 else 1, values)


def _rows(found: Sequence[_Read], max_rows: int) -> int:
    """How many rows all tensors have."""
    rows = {each.rows for each in found}
    if len(rows) != 1:
        raise RowErrors((("inputs", "must all have the same number of rows"),))
    (count,) = rows
    if count > max_rows:
        raise TooManyRows(max_rows)
    if count < 1:
        raise RowErrors((("inputs", "must hold at least one row"),))
    return count


def _is_table(found: Sequence[_Read], schema: Schema) -> bool:
    """Whether the only tensor holds all columns; a tensor that names a column, and is as narrow, is that column."""
    if len(found) != 1:
        return False
    return found[0].width > 1 or found[0].name not in schema.names + schema.ignored


def _table(table: _Read, schema: Schema) -> Batch:
    width = len(schema.columns)
    if table.width != width:
        problem = f"must be [rows, {width}], or send a tensor for each column by name: {listed(schema.names)}"
        raise RowErrors((("inputs[0].shape", problem),))
    values = table.values
    if schema.only_numbers and values.kind in ("number", "integer"):
        # A copy: what came may lie at any address, and onnxruntime wants it aligned.
        numbers = tensor_cells.finite(values.array.astype("f8"), "inputs[0]", width)
        return Batch(numbers.reshape(table.rows, width), batch.text_table((), table.rows))
    if schema.only_numbers and values.kind == "cell":
        cells = tensor_cells.column(schema.columns[0], values, "inputs[0]")
        return Batch(np.reshape(np.asarray(cells), (table.rows, width)), batch.text_table((), table.rows))
    columns = {
        column.name: (values.every(width, at), f"inputs[0] ({column.name})") for at, column in enumerate(schema.columns)
    }
    return by_column(columns, schema, table.rows)


def _columns(found: Sequence[_Read], schema: Schema) -> dict[str, int]:
    """The place of each column's tensor."""
    places: dict[str, int] = {}
    errors: list[tuple[str, str]] = []
    known = frozenset(schema.names + schema.ignored)
    for at, each in enumerate(found):
        if each.name not in known:
            errors.append((f"inputs[{at}].name", f"is no column of this model; the columns are {listed(schema.names)}"))
        elif each.name in places:
            errors.append((f"inputs[{at}].name", "names a column that another tensor names too"))
        elif each.width != 1:
            errors.append((f"inputs[{at}].shape", "must be [rows] or [rows, 1] for a single column"))
        places[each.name] = at
    if errors:
        raise RowErrors(tuple(errors))
    return places
