"""Rows whose columns are named once, before them: the split form of pandas, and CSV.

Beside ``tables.rows``. The columns may come in any order, and one that is not named is missing; a cell
means what it means in a row of JSON, or in a file of training data.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson

from tables import parsing, plain, rows, tensors
from tables.batch import Batch
from tables.errors import NotJson, RowErrors, TooManyRows
from tables.schema import Schema, listed
from tables.tensor_data import Values


class _Split(msgspec.Struct):
    columns: list[str | int]
    data: msgspec.Raw


_split = msgspec.json.Decoder(_Split)


def decode_split(raw: bytes | memoryview, schema: Schema, *, max_rows: int) -> Batch:
    """Decode ``{"columns": […], "data": [[…], …]}``; other members are ignored.

    Raises NotJson, TooManyRows, or RowErrors with at most 16 places.
    """
    try:
        found = _split.decode(raw)
    except msgspec.ValidationError:
        raise RowErrors(
            (("dataframe_split", "must have columns, a list of names, and data, a list of rows"),)
        ) from None
    except msgspec.DecodeError:
        raise NotJson("not JSON") from None
    names = tuple(map(str, found.columns))
    data = bytes(found.data)
    order = _order(names, schema, "dataframe_split.columns")
    if names == schema.names:
        return rows.decode_json(data, schema, max_rows=max_rows)
    quick = _numbers(data, order, max_rows) if schema.only_numbers else None
    return quick or _any(_table(data, len(names), max_rows), order, schema)


def decode_csv(raw: bytes | memoryview, schema: Schema, *, max_rows: int) -> Batch:
    """Decode a header row and the rows after it; an empty cell is missing, an empty line is none.

    Raises TooManyRows, or RowErrors with at most 16 places.
    """
    try:
        text = bytes(raw).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RowErrors((("body", "must be text in UTF-8"),)) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        lines = _lines(reader, len(header), max_rows)
    except csv.Error:
        raise RowErrors((("body", "is not CSV: check its quotes"),)) from None
    order = _order(header, schema, "the header row")
    if not lines:
        raise RowErrors((("body", "must hold a header row and at least one row after it"),))
    table = list(zip(*lines, strict=True))
    columns = {
        name: (Values("text", table[at]), name) for name, at in zip(schema.names, order, strict=True) if at is not None
    }
    return tensors.by_column(columns, schema, len(lines))


def _lines(reader: Iterable[list[str]], width: int, max_rows: int) -> list[list[str]]:
    lines: list[list[str]] = []
    for cells in reader:
        if not cells:
            continue
        if len(lines) == max_rows:
            raise TooManyRows(max_rows)
        if len(cells) != width:
            raise RowErrors(((f"row[{len(lines)}]", f"has {len(cells)} cells where the header has {width}"),))
        lines.append(cells)
    return lines


def _order(names: Sequence[str], schema: Schema, at: str) -> list[int | None]:
    """Where each column of the schema stands among the names; None where it is missing."""
    known = frozenset(schema.names + schema.ignored)
    if not names or not known.issuperset(names) or len(set(names)) != len(names):
        raise RowErrors(((at, f"must name columns of this model, each once; they are {listed(schema.names)}"),))
    places = {name: at for at, name in enumerate(names)}
    return [places.get(name) for name in schema.names]


def _numbers(data: bytes, order: Sequence[int | None], max_rows: int) -> Batch | None:
    """Rows of numbers and nothing else, in an order of their own, or None."""
    width = sum(at is not None for at in order)
    text = data.strip()
    table = plain.numbers(text[1:-1], width) if max((at or 0) for at in order) < width else None
    if table is None:
        return None
    if len(table) > max_rows:
        raise TooManyRows(max_rows)
    found = np.full((len(table), len(order)), np.nan)
    for place, at in enumerate(order):
        if at is not None:
            found[:, place] = table[:, at]
    return plain.batch(found)


def _table(data: bytes, width: int, max_rows: int) -> list[list[Any]]:
    """Rows of as many cells as there are names."""
    try:
        table: Any = parsing.loads(data)
    except parsing.NotJson:
        raise NotJson("not JSON") from None
    if not isinstance(table, list) or any(not isinstance(row, list) or len(row) != width for row in table):
        raise RowErrors((("dataframe_split.data", f"must be rows of {width} cells, one for each of its columns"),))
    if len(table) > max_rows:
        raise TooManyRows(max_rows)
    return table


def _any(table: list[list[Any]], order: Sequence[int | None], schema: Schema) -> Batch:
    """Rows of any cells in an order of their own; a column that was not sent costs no more than its missing cells."""
    sent = [(column, at) for column, at in zip(schema.columns, order, strict=True) if at is not None]
    if not sent and table:
        return tensors.by_column({}, schema, len(table))
    narrow = Schema(tuple(column for column, _ in sent)) if sent else schema
    text = orjson.dumps([[row[at] for _, at in sent] for row in table])
    given = rows.decode_json(text, narrow, max_rows=len(table))
    numbers = np.full((len(table), len(schema.number_names)), np.nan)
    texts = np.full((len(table), len(schema.text_names)), "", dtype=object)
    known = frozenset(narrow.names)
    numbers[:, [name in known for name in schema.number_names]] = given.numbers
    texts[:, [name in known for name in schema.text_names]] = given.texts
    return Batch(numbers, texts)
