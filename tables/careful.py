"""The precise way from a request's rows to typed arrays: cell by cell, with a sentence per mistake.

Behind ``tables.rows``: bytes the fast ways refused come in; a Batch, or the errors a person needs
to mend the request, goes out. It accepts everything the fast ways accept, with the same values,
and the rarer spellings besides: numbers and booleans as text, escapes, rows of both kinds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from tables import batch, cells
from tables.batch import Batch
from tables.columns import Column
from tables.errors import MAX_ROW_ERRORS, NotJson, RowErrors, TooManyRows
from tables.missing import NOT_A_NUMBER
from tables.schema import Schema, listed

MAX_DEPTH: Final = 31
"""Deepest nesting of ``instances``: 32 with the object around it."""

LONGEST_INTEGER: Final = 400
"""Digits beyond which an integer is out of range without being converted (float64 ends at 309)."""

MISSING: Final = object()
"""Stands for a cell that is absent."""

Value = float | str
"""A converted cell."""


class CellError(Exception):
    """A cell cannot be read; the text says what is wrong, without the value."""


class _Twice(Exception):
    """An object has the same name twice."""


def decode(body: bytes, schema: Schema, *, max_rows: int) -> Batch:
    """Decode rows cell by cell. Raises NotJson, TooManyRows or RowErrors; see ``tables.rows``."""
    rows = parse(body)
    if not isinstance(rows, list):
        raise RowErrors((("instances", "must be a list of rows"),))
    if not rows:
        raise RowErrors((("instances", "must hold at least one row"),))
    if len(rows) > max_rows:
        raise TooManyRows(max_rows)
    errors: list[tuple[str, str]] = []
    columns: list[list[Value]] = [[] for _ in schema.columns]
    for at, row in enumerate(rows):
        for column, values, cell in zip(schema.columns, columns, _cells(row, at, schema, errors), strict=False):
            try:
                values.append(convert(column, cell))
            except CellError as error:
                errors.append((f"instances[{at}].{column.name}", str(error)))
        if len(errors) >= MAX_ROW_ERRORS:
            break
    if errors:
        raise RowErrors(tuple(errors))
    return _assemble(columns, schema, len(rows))


def parse(body: bytes) -> Any:
    """JSON as RFC 8259 has it. Raises NotJson, also for a name twice in one object.

    Numbers out of float64's range come back infinite, lone surrogates as they are: both are
    errors of a cell, which the caller can name.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        raise NotJson("not UTF-8") from error
    except _Twice as error:
        raise NotJson("an object has the same name twice") from error
    except RecursionError as error:
        raise NotJson(_TOO_DEEP) from error
    except ValueError as error:
        raise NotJson("not JSON") from error
    if _depth(value) > MAX_DEPTH:
        raise NotJson(_TOO_DEEP)
    return value


_TOO_DEEP = "nested too deeply"


def convert(column: Column, cell: Any) -> Value:
    """One JSON cell by its column: float64 for number-like columns, str for text. Raises CellError."""
    if cell is None or cell is MISSING:
        return "" if column.type == "text" else math.nan
    if isinstance(cell, str) and not is_unicode(cell):
        raise CellError("holds half a character (a lone surrogate)")
    return _CONVERTERS[column.type](column, cell)


def is_unicode(text: str) -> bool:
    """Whether a JSON string is whole: escapes can also write halves of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(column: Column, cell: Any) -> float:
    if isinstance(cell, str):
        if cell.strip() in NOT_A_NUMBER:
            raise CellError("must be a number; write null for a missing value")
        text = cells.clean(cell)
        number = cells.parse_number(text) if text else math.nan
    else:
        number = cell if type(cell) is float or type(cell) is int else None
    if number is None:
        raise CellError("must be a number, or null where it is missing")
    if math.isinf(number):
        raise CellError("is a number out of range")
    return float(number)


def _boolean(column: Column, cell: Any) -> float:
    text = cells.clean(cell) if isinstance(cell, str) else None
    if text == "":
        return math.nan
    value = cells.parse_boolean(text) if text else cell
    if not isinstance(value, bool):
        raise CellError("must be true or false, or null where it is missing")
    return float(value)


_DATE_EXAMPLES: Final = {
    "iso": "such as 2025-12-31 or 2025-12-31T18:00:00Z",
    "day_first": "such as 2025-12-31 or 31.12.2025",
    "month_first": "such as 2025-12-31 or 12/31/2025",
}


def _date(column: Column, cell: Any) -> float:
    text = cells.clean(cell) if isinstance(cell, str) else None
    if text == "":
        return math.nan
    microseconds = cells.parse_date(text, column.date_form) if text else None
    if microseconds is None:
        raise CellError(f"must be a date {_DATE_EXAMPLES[column.date_form]}, or null where it is missing")
    return cells.days(microseconds, cells.origin_us(column.origin or ""))


def _text(column: Column, cell: Any) -> str:
    if type(cell) is int:
        return str(cell)
    if not isinstance(cell, str):
        raise CellError("must be text in quotes, or null where it is missing")
    return cells.clean(cell)


_CONVERTERS: Final[dict[str, Callable[[Column, Any], Value]]] = {
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "text": _text,
}


def _cells(row: Any, at: int, schema: Schema, errors: list[tuple[str, str]]) -> Iterable[Any]:
    """The row's cells in feature order; nothing, and an error noted, when its shape is wrong."""
    if isinstance(row, list):
        if len(row) == len(schema.columns):
            return row
        problem = f"has length {len(row)} where {len(schema.columns)} is expected: {listed(schema.names)}"
    elif isinstance(row, dict):
        unknown = row.keys() - set(schema.names) - set(schema.ignored)
        if not unknown:
            return [row.get(name, MISSING) for name in schema.names]
        what = "a name that is no column" if len(unknown) == 1 else f"{len(unknown)} names that are no columns"
        problem = f"has {what} of this model; the columns are {listed(schema.names)}"
    else:
        problem = "must be a list of values or an object of named values"
    errors.append((f"instances[{at}]", problem))
    return ()


def _assemble(columns: list[list[Value]], schema: Schema, count: int) -> Batch:
    numbers = [values for column, values in zip(schema.columns, columns, strict=True) if column.type != "text"]
    texts = [values for column, values in zip(schema.columns, columns, strict=True) if column.type == "text"]
    return Batch(batch.number_table(numbers, count), batch.text_table(texts, count))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Twice
    return made


def _integer(text: str) -> int | float:
    if len(text) > LONGEST_INTEGER:
        return math.inf
    number = int(text)
    try:
        float(number)
    except OverflowError:
        return math.inf
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(name)


def _depth(value: Any, limit: int = MAX_DEPTH + 1) -> int:
    """How deep lists and objects are nested, counted up to ``limit``."""
    if limit == 0 or not isinstance(value, list | dict):
        return 0
    inner = value if isinstance(value, list) else value.values()
    return 1 + max((_depth(each, limit - 1) for each in inner), default=0)
