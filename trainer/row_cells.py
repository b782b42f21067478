"""One column of a dataset by a version's schema: cells in, what a prediction is asked with out.

Between the blocks of a table file and the rows of an offline prediction. A cell means what it means in
a training: the same missing markers, the same ways to write a number or a date. A cell that means
nothing to its column refuses its row, not the table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tables import cells as one
from tables.columns import Column, ColumnType
from trainer.column_forms import MOMENT, Form, one_cell, read
from wire import errors

NUMBERS: Final[tuple[Form, ...]] = ("plain", "comma", "grouped")
"""The ways a column of text cells may write its numbers, in the order in which one is taken."""

_SAMPLE: Final = 1_000
_WHOLE: Final = 2.0**53
_KINDS: Final[dict[pa.DataType, ColumnType]] = {pa.float64(): "number", pa.bool_(): "boolean", MOMENT: "date"}
_FIT: Final = frozenset({("number", "text"), *((kind, kind) for kind in _KINDS.values())})
_PROBLEMS: Final[dict[ColumnType, str]] = {
    "number": "must be a number, or empty where it is missing",
    "boolean": "must be true or false, or empty where it is missing",
    "date": "must be a date as the model was trained with, or ISO such as 2025-12-31, or empty where it is missing",
    "text": "must be text or a whole number",
}


@dataclass
class NumberForm:
    """How one column writes its numbers, found in a pass over its blocks.

    As in a training: the form that every cell fits. Where none does, the one that most of the first
    cells fit, so that a single bad cell refuses its row and no other.
    """

    left: list[Form] = field(default_factory=lambda: list(NUMBERS))
    _first: list[str] = field(default_factory=list)

    def add(self, cells: pa.Array) -> None:
        """Look at one block."""
        self.left = [form for form in self.left if read(form, cells) is not None]
        missing = _SAMPLE - len(self._first)
        if missing > 0:
            self._first += cells.drop_null().slice(0, missing).to_pylist()

    def form(self, thousands_comma: bool | None) -> Form:
        """The verdict; ``thousands_comma`` is what the source says of ``1,234``."""
        left = self.left or self._likely()
        if left[0] == "comma" and "grouped" in left:
            return "grouped" if thousands_comma else "comma"
        return left[0]

    def _likely(self) -> list[Form]:
        fits = [sum(one_cell(form, text) is not None for text in self._first) for form in NUMBERS]
        return [form for form, count in zip(NUMBERS, fits, strict=True) if count == max(fits)]


@dataclass(frozen=True)
class Cells:
    """A column's cells as a request writes them, null where missing; ``refused`` rows and why."""

    values: pa.Array
    refused: dict[int, str]


def check_type(column: Column, kind: pa.DataType) -> None:
    """Whether a column of the file can be what the version's column is. Raises errors.BadInput."""
    found = _KINDS.get(kind)
    if found is not None and (found, column.type) not in _FIT:
        raise errors.BadInput(
            f"Column '{column.name}' is of the type {found} in the dataset and of the type {column.type} in the model.",
            hint="Write it as it was in the data the model was trained on.",
        )


def convert(column: Column, form: Form, cells: pa.Array) -> Cells:
    """One block of a column; ``form`` matters for numbers written as text. Raises errors.BadInput."""
    check_type(column, cells.type)
    if column.type == "text":
        return Cells(cells, {}) if pa.types.is_string(cells.type) else _as_text(cells)
    if not pa.types.is_string(cells.type):
        return _finite(cells) if column.type == "number" else Cells(_written(column, cells), {})
    chosen: Form = form if column.type == "number" else "boolean"
    if column.type == "date":
        chosen = cast("Form", column.date_form)
    values = read(chosen, cells)
    if values is None:
        values, refused = _one_by_one(column, chosen, cells)
    else:
        refused = {}
    if column.type == "date":
        return Cells(_without(cells, refused), refused)
    if column.type == "boolean":
        return Cells(values, refused)
    finite = _finite(values)
    return Cells(finite.values, refused | finite.refused)


def texts(cells: pa.Array) -> list[str]:
    """Cells as an output carries them: text as it is, the rest in its shortest form, '' where missing."""
    if pa.types.is_string(cells.type):
        return list(cells.fill_null("").to_pylist())
    if cells.type == MOMENT:
        return [_iso(value) for value in cells.cast(pa.int64()).to_pylist()]
    return [_plain(value) for value in cells.to_pylist()]


def _one_by_one(column: Column, form: Form, cells: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    """The slow way, which knows whose mistake it is; each distinct cell is read once."""
    encoded = pc.dictionary_encode(cells)
    found = [one_cell(form, text) for text in encoded.dictionary.to_pylist()]
    kind = {"number": pa.float64(), "boolean": pa.bool_(), "date": MOMENT}[column.type]
    wrong = pa.array([value is None for value in found], pa.bool_()).take(encoded.indices).fill_null(False)
    rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False)).tolist()
    return pa.array(found, kind).take(encoded.indices), dict.fromkeys(rows, _PROBLEMS[column.type])


def _finite(numbers: pa.Array) -> Cells:
    infinite = pc.is_inf(numbers).fill_null(False)
    if not pc.any(infinite).as_py():
        return Cells(numbers, {})
    rows = np.flatnonzero(infinite.to_numpy(zero_copy_only=False)).tolist()
    return Cells(numbers, dict.fromkeys(rows, "is a number out of range"))


def _written(column: Column, cells: pa.Array) -> pa.Array:
    if column.type == "date":
        return pa.array([_iso(value) or None for value in cells.cast(pa.int64()).to_pylist()], pa.string())
    return cells


def _as_text(numbers: pa.Array) -> Cells:
    """Whole numbers as the text a CSV would hold; others are refused, as in a request."""
    values: list[str | None] = []
    refused: dict[int, str] = {}
    for at, value in enumerate(numbers.to_pylist()):
        if value is not None and not (value.is_integer() and abs(value) <= _WHOLE):
            refused[at] = _PROBLEMS["text"]
            value = None
        values.append(None if value is None else str(int(value)))
    return Cells(pa.array(values, pa.string()), refused)


def _without(cells: pa.Array, refused: dict[int, str]) -> pa.Array:
    if not refused:
        return cells
    keep = np.ones(len(cells), dtype=bool)
    keep[list(refused)] = False
    return pc.if_else(pa.array(keep), cells, pa.scalar(None, pa.string()))


def _iso(microseconds: int | None) -> str:
    return "" if microseconds is None else one.iso(microseconds)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    whole = isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) <= _WHOLE
    return str(int(value)) if whole else repr(value)
