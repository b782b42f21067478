"""Cells of a CSV file as the model's version wants them: numbers as numbers, true and false, missing as null.

Between a row of text and a row of JSON. Only what is certain is converted; every other text goes to
the gateway as it is, which accepts the rarer spellings and says what is wrong with the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from warren.answers import Feature
from warren.cells import Cell

MARKERS = frozenset(
    {
        *("", "?", "-", ".", "#N/A", "<NA>", "NA", "N/A", "n/a", "NULL", "Null", "null", "None", "NaN", "nan", "NaT"),
        *("0000-00-00", "0000-00-00 00:00:00"),
    }
)
"""Cells that mean missing in a file, the same as a training reads it."""

_number = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_BOOLEANS = {"true": True, "false": False}


class Columns:
    """Where each of the version's columns is in a file, and how its cells are read."""

    def __init__(self, features: Sequence[Feature], header: Sequence[str]) -> None:
        """``header``: the file's column names, in order."""
        places = {name: place for place, name in enumerate(header)}
        self.missing = [feature.name for feature in features if feature.name not in places]
        self.unused = [name for name in header if name not in {feature.name for feature in features}]
        self._cells = [(places.get(feature.name), _READERS.get(feature.type, _text)) for feature in features]

    def row(self, cells: Sequence[str]) -> list[Cell]:
        """The row in the order of the version's columns; a column the file lacks is missing."""
        return [None if place is None else read(cells[place]) for place, read in self._cells]


def _as_number(text: str) -> Cell:
    if _number.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    stripped = text.strip()
    if stripped in MARKERS:
        return None
    return _as_number(stripped) if stripped != text else text


def _as_boolean(text: str) -> Cell:
    stripped = text.strip()
    if stripped in MARKERS:
        return None
    return _BOOLEANS.get(stripped.lower(), text)


def _text(text: str) -> Cell:
    return text or None


_READERS: dict[str, Callable[[str], Cell]] = {"number": _as_number, "boolean": _as_boolean}
