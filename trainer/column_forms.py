"""Whole columns of text cells to typed values: the rules of ``tables.cells``, a block at a time.

Between the blocks of a table file and its typed columns. A *form* is one way to write one type
(a decimal comma, a day before the month, …). ``read`` gives what ``tables.cells`` gives for each
cell, or None when a cell is not written in that form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tables import cells
from tables.missing import MARKERS

Form = Literal["plain", "comma", "grouped", "boolean", "iso", "dotted", "day_first", "month_first"]
"""``plain`` 1234.5; ``comma`` 1.234,5; ``grouped`` 1,234.5; ``boolean``; and dates: ``iso``
2020-12-31, ``dotted`` 31.12.2020, ``day_first`` 31/12/2020, ``month_first`` 12/31/2020."""

MOMENT: Final = pa.timestamp("us")
"""The Arrow type of a date column: microseconds in UTC."""

_MARKERS: Final = pa.array(sorted(MARKERS))
_HEAD = 20
_COMMA: Final = r"^[+-]?(?:(?:0|[1-9][0-9]*)|[1-9][0-9]{0,2}(?:\.[0-9]{3})+)(?:,[0-9]+)?$"
_GROUPED: Final = r"^[+-]?(?:(?:0|[1-9][0-9]*)|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?:\.[0-9]+)?$"
_CODE: Final = r"^[+-]?0[0-9]"
_NAIVE_ISO: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?$"
_DOTTED = re.compile(r"\d{1,2}\.\d{1,2}\.|\d{4}[-/]", re.ASCII)


def clean(texts: pa.Array) -> pa.Array:
    """Text cells without surrounding white space, null where they mean missing."""
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.is_in(trimmed, value_set=_MARKERS), pa.scalar(None, pa.string()), trimmed)


def read(form: Form, texts: pa.Array) -> pa.Array | None:
    """Cleaned text cells as float64, bool or ``MOMENT`` (null for missing); None if one does not fit."""
    head = texts.slice(0, _HEAD).drop_null()
    if any(one_cell(form, text) is None for text in head.to_pylist()):
        return None
    return _READERS[form](texts)


def convert(form: Form, texts: pa.Array) -> pa.Array:
    """``read`` for cells that are known to fit ``form``."""
    values = read(form, texts)
    assert values is not None
    return values


def one_cell(form: Form, text: str) -> Any:
    """One cleaned cell by a form: float, bool, microseconds, or None."""
    if form == "plain":
        return cells.parse_number(text)
    if form in _SEPARATORS:
        pattern, thousands, point = _SEPARATORS[form]
        plain = text.replace(thousands, "").replace(point, ".")
        return float(plain) if re.fullmatch(pattern, text, re.ASCII) else None
    if form == "boolean":
        return cells.parse_boolean(text)
    if form == "iso":
        return cells.parse_date(text)
    if form == "dotted":
        return cells.parse_date(text, "day_first") if _DOTTED.match(text) else None
    return cells.parse_date(text, "day_first" if form == "day_first" else "month_first")


_SEPARATORS: Final[dict[str, tuple[str, str, str]]] = {"comma": (_COMMA, ".", ","), "grouped": (_GROUPED, ",", ".")}


def _plain(texts: pa.Array) -> pa.Array | None:
    try:
        numbers = pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        return None
    # Arrow also reads NAN and leading zeros, which are no numbers here.
    if _any(pc.is_nan(numbers)) or _any(pc.match_substring_regex(texts, _CODE)):
        return None
    return numbers


def _separated(form: Form) -> Callable[[pa.Array], pa.Array | None]:
    pattern, thousands, point = _SEPARATORS[form]

    def reader(texts: pa.Array) -> pa.Array | None:
        if not _all(pc.match_substring_regex(texts, pattern)):
            return None
        plain = pc.replace_substring(pc.replace_substring(texts, thousands, ""), point, ".")
        return pc.cast(plain, pa.float64())

    return reader


def _iso(texts: pa.Array) -> pa.Array | None:
    if _all(pc.match_substring_regex(texts, _NAIVE_ISO)):
        try:
            return pc.cast(texts, MOMENT)
        except pa.ArrowInvalid:
            return None
    return _distinct_cells("iso", MOMENT)(texts)


def _distinct_cells(form: Form, kind: pa.DataType) -> Callable[[pa.Array], pa.Array | None]:
    """A reader that asks ``tables.cells`` once per distinct cell."""

    def reader(texts: pa.Array) -> pa.Array | None:
        encoded = pc.dictionary_encode(texts)
        values = [one_cell(form, text) for text in encoded.dictionary.to_pylist()]
        if any(value is None for value in values):
            return None
        return pa.array(values, kind).take(encoded.indices)

    return reader


def _any(flags: pa.Array) -> bool:
    return pc.any(flags).as_py() is True


def _all(flags: pa.Array) -> bool:
    return pc.all(flags).as_py() is not False


_READERS: Final[dict[str, Callable[[pa.Array], pa.Array | None]]] = {
    "plain": _plain,
    "comma": _separated("comma"),
    "grouped": _separated("grouped"),
    "boolean": _distinct_cells("boolean", pa.bool_()),
    "iso": _iso,
    "dotted": _distinct_cells("dotted", MOMENT),
    "day_first": _distinct_cells("day_first", MOMENT),
    "month_first": _distinct_cells("month_first", MOMENT),
}
