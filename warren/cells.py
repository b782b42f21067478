"""One cell of your table to one JSON value: None, NaN and NaT are missing, dates become ISO 8601.

Behind ``warren.rows``. NumPy's, pandas' and Polars' own scalars are known by what they can do, so
none of the three has to be installed.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from typing import Any

Cell = bool | int | float | str | None
"""A cell as it travels."""

_PLAIN = frozenset({bool, int, str, type(None)})


class NotACell(ValueError):
    """A value that no cell can hold; the text says why and what to give instead."""


def cell(value: Any) -> Cell:
    """The JSON value of a cell. Raises NotACell."""
    if type(value) in _PLAIN:
        return value  # type: ignore[no-any-return]
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, datetime.datetime | datetime.date):
        # pandas' NaT calls itself a datetime and is the only one that does not equal itself.
        return value.isoformat() if value == value else None
    if isinstance(value, decimal.Decimal):
        return None if value.is_nan() else _number(float(value))
    if isinstance(value, uuid.UUID):
        return str(value)
    if type(value).__name__ == "NAType":
        return None
    if isinstance(value, str | int):
        return str(value) if isinstance(value, str) else int(value)
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return _of_numpy(value)
    raise NotACell(f"is a {type(value).__name__}; give a number, a text, a boolean, a date or None")


def _number(value: float) -> float | None:
    if math.isinf(value):
        raise NotACell("is infinite; give a finite number, or None where it is missing")
    return None if math.isnan(value) else value


def _of_numpy(value: Any) -> Cell:
    if value.dtype.kind == "M":
        value = value.astype("datetime64[us]")
    inner = value.item()
    if type(inner) is type(value) or value.dtype.kind not in "biufMU":
        raise NotACell(f"is a {value.dtype}; give a number, a text, a boolean, a date or None")
    return cell(inner)
