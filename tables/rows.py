"""Rows of a request to typed arrays: JSON bytes come in, a Batch by the version's schema goes out.

Three ways with one meaning. Plain rows of numbers go through a SIMD parser's own buffer; rows
whose cells are all of their column's usual JSON type are converted column by column; whatever
those two refuse goes cell by cell through ``tables.careful``, which knows the rare spellings and
says precisely what is wrong. The fast ways only ever refuse: they never judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tables import batch, careful, cells, parsing, plain
from tables.batch import Batch
from tables.columns import Column
from tables.errors import TooManyRows
from tables.schema import Schema

_NUMBERS = {int, float, type(None)}
_TEXTS = {str, type(None)}
_BOOLEANS = {bool, type(None)}
_WHITE_SPACE = b" \t\n\r"


def decode_json(raw: bytes | memoryview, schema: Schema, *, max_rows: int) -> Batch:
    """Decode the value of ``instances``: a list of lists (feature order) or of objects (by name).

    A null or absent cell is missing. Raises NotJson (not JSON at all), TooManyRows, or RowErrors
    with at most 16 places; none repeats a value.
    """
    body = bytes(raw)
    decoded = _plain_numbers(body, schema, max_rows) if schema.only_numbers else None
    if decoded is None:
        decoded = _by_column(body, schema, max_rows)
    if decoded is None:
        decoded = careful.decode(body, schema, max_rows=max_rows)
    return decoded


def _plain_numbers(body: bytes, schema: Schema, max_rows: int) -> Batch | None:
    """Lists of finite numbers and nothing else, or None."""
    text = body.strip(_WHITE_SPACE)
    if text[:1] != b"[" or text[-1:] != b"]":
        return None
    numbers = plain.numbers(text[1:-1], len(schema.columns))
    if numbers is None:
        return None
    _bound(len(numbers), max_rows)
    return plain.batch(numbers)


def _by_column(body: bytes, schema: Schema, max_rows: int) -> Batch | None:
    try:
        rows = parsing.loads(body)
    except parsing.NotJson:
        return None
    if not isinstance(rows, list) or not rows or not set(map(type, rows)) <= {list, dict}:
        return None
    _bound(len(rows), max_rows)
    return by_column(body, rows, schema)


def by_column(body: bytes, rows: list[Any], schema: Schema) -> Batch | None:
    """Rows whose cells are all of the usual type of their column, or None; ``body`` is what they were read from."""
    kinds = set(map(type, rows))
    if kinds == {list}:
        if set(map(len, rows)) != {len(schema.columns)}:
            return None
        return _typed(rows, schema)
    return _named(body, rows, schema) if kinds == {dict} else None


def _named(body: bytes, rows: list[dict[str, Any]], schema: Schema) -> Batch | None:
    # orjson keeps the last of equal names silently. With no escapes in the body every quote ends
    # or begins a string, so a name too many shows as two quotes too many.
    if b"\\" in body:
        return None
    strings = sum(map(len, rows))
    table: list[Any]
    if strings == len(rows) * len(schema.names) and not schema.ignored:
        try:
            table = list(map(_getter(schema.names), rows))
        except KeyError:
            return None
    else:
        known = frozenset(schema.names + schema.ignored)
        if any(not row.keys() <= known for row in rows):
            return None
        table = [[row.get(name) for name in schema.names] for row in rows]
    if schema.only_numbers is False:
        strings += sum(type(cell) is str for cell in chain.from_iterable(table))
    if body.count(b'"') != 2 * strings:
        return None
    return _typed(table, schema)


def _getter(names: tuple[str, ...]) -> Any:
    if len(names) == 1:
        only = names[0]
        return lambda row: (row[only],)
    return itemgetter(*names)


def _typed(table: list[Any], schema: Schema) -> Batch | None:
    if schema.only_numbers:
        if not set(map(type, chain.from_iterable(table))) <= _NUMBERS:
            return None
        return Batch(np.array(table, dtype=np.float64), batch.text_table((), len(table)))
    numbers: list[Any] = []
    texts: list[Any] = []
    for column, values in zip(schema.columns, zip(*table, strict=True), strict=True):
        converted = _column(column, values)
        if converted is None:
            return None
        (texts if column.type == "text" else numbers).append(converted)
    return Batch(batch.number_table(numbers, len(table)), batch.text_table(texts, len(table)))


def _column(column: Column, values: Sequence[Any]) -> Sequence[Any] | NDArray[np.float64] | None:
    kinds = set(map(type, values))
    if column.type == "number":
        return np.array(values, dtype=np.float64) if kinds <= _NUMBERS else None
    if column.type == "boolean":
        return np.array(values, dtype=np.float64) if kinds <= _BOOLEANS else None
    if not kinds <= _TEXTS:
        return None
    texts = ["" if value is None else cells.clean(value) for value in values]
    return texts if column.type == "text" else _dates(column, texts)


def _dates(column: Column, texts: Sequence[str]) -> NDArray[np.float64] | None:
    origin = cells.origin_us(column.origin or "")
    found = []
    for text in texts:
        microseconds = cells.parse_date(text, column.date_form) if text else None
        if text and microseconds is None:
            return None
        found.append(np.nan if microseconds is None else cells.days(microseconds, origin))
    return np.array(found, dtype=np.float64)


def _bound(rows: int, max_rows: int) -> None:
    if rows > max_rows:
        raise TooManyRows(max_rows)
