"""What one column of a table is: its name, its type, and how its dates are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

ColumnType = Literal["number", "text", "boolean", "date"]
"""``number`` float64; ``text`` a category; ``boolean`` true or false; ``date`` a day or a time."""

DateForm = Literal["iso", "day_first", "month_first"]
"""How a column's text dates are written: ISO 8601, ``31.12.2020`` or ``12/31/2020``. ISO is
always read as well."""

COLUMN_TYPES: Final[tuple[str, ...]] = get_args(ColumnType)
"""Every type a column may have."""
DATE_FORMS: Final[tuple[str, ...]] = get_args(DateForm)
"""Every form the dates of a column may be written in."""


@dataclass(frozen=True)
class Column:
    """One column. ``origin`` is the training minimum of a date column, ISO 8601 in UTC without zone.

    Dates are decoded as days since ``origin``: small numbers, which a float32 graph can hold.
    """

    name: str
    type: ColumnType
    origin: str | None = None
    date_form: DateForm = "iso"
