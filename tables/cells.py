"""One text cell to one value: the rules that files, JSON lines and requests share.

Every function takes a cell without surrounding white space (``clean``) that is not a missing
marker, and returns None when the cell is not of that type. The readers of large files work on
whole columns at once and are tested to give exactly what these functions give.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from tables.columns import DateForm
from tables.missing import MARKERS

DAY_US: Final = 86_400_000_000.0
"""Microseconds in a day; dates are microseconds in UTC until they become days."""

PLAIN_NUMBER: Final = r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""A number with a decimal point. A leading zero as in ``02134`` marks a code, which is text."""

INFINITE: Final = r"[+-]?(?i:inf|infinity)"
"""Spellings of an infinite number, which are numbers that every reader refuses with a sentence."""

_TIME = r"(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}(?::?\d{2})?)?)?"
ISO_DATE: Final = r"(\d{4})(-|/)(\d{2})(?:-|/)(\d{2})" + _TIME
"""``2020-12-31`` or ``2020/12/31``, with or without a time, with or without a zone."""

NUMERIC_DATE: Final = r"(\d{1,2})([./-])(\d{1,2})([./-])(\d{4})" + _TIME
"""``31.12.2020`` or ``12/31/2020``: which is which, only the whole column can tell."""

_plain = re.compile(PLAIN_NUMBER, re.ASCII)
_infinite = re.compile(INFINITE, re.ASCII)
_iso = re.compile(ISO_DATE, re.ASCII)
_numeric_date = re.compile(NUMERIC_DATE, re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST: Final = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LATEST: Final = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_BOOLEANS: Final = {"true": True, "false": False}


def clean(text: str) -> str:
    """The cell without surrounding white space; ``""`` when it is a missing marker."""
    stripped = text.strip()
    return "" if stripped in MARKERS else stripped


def parse_number(text: str) -> float | None:
    """A number with a decimal point; infinite where it is out of float64's range or says so."""
    if _plain.fullmatch(text):
        return float(text)
    if _infinite.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    return None


def parse_boolean(text: str) -> bool | None:
    """``true`` or ``false`` in any case. Yes, no, 0 and 1 are not booleans (docs/decisions)."""
    return _BOOLEANS.get(text.lower()) if len(text) <= 5 else None


def parse_date(text: str, form: DateForm = "iso") -> int | None:
    """Microseconds since 1970 in UTC; a time without a zone counts as UTC. ISO is always read.

    Fractions of a second are cut after six digits.
    """
    if match := _iso.fullmatch(text):
        year, separator, month, day, time, zone = match.groups()
        if text[7] != separator:
            return None
        return _microseconds(year, month, day, time, zone)
    if form != "iso" and (match := _numeric_date.fullmatch(text)):
        first, separator, second, again, year, time, zone = match.groups()
        if separator != again:
            return None
        day, month = (first, second) if form == "day_first" else (second, first)
        return _microseconds(year, month, day, time, zone)
    return None


def _microseconds(year: str, month: str, day: str, time: str | None, zone: str | None) -> int | None:
    text = f"{year}-{month:0>2}-{day:0>2}T{time or '00:00'}{zone or 'Z'}"
    try:
        microseconds = (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
    except ValueError:
        return None
    # A zone can push the first or last day out of the years that ISO text can write.
    return microseconds if _EARLIEST <= microseconds <= _LATEST else None


def days(microseconds: int, origin: int) -> float:
    """Days from ``origin`` to a date, both in microseconds; rounded as NumPy does it."""
    return float(microseconds - origin) / DAY_US


@lru_cache(maxsize=1024)
def origin_us(origin: str) -> int:
    """A stored origin in microseconds; ``Schema`` has checked that it is a date."""
    microseconds = parse_date(origin)
    assert microseconds is not None
    return microseconds


def iso(microseconds: int) -> str:
    """A date in microseconds as ISO 8601 text in UTC without zone, as ``Column.origin`` stores it."""
    return (_EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=None).isoformat()
