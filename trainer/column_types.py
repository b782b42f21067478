"""The type of every column, found in one pass over a table's blocks.

Between ``trainer.table_blocks`` and whoever needs types (the profile, the typed frame). Each text
column keeps the forms that all its cells fit so far; what is left at the end decides. Memory is
bounded: at most 1,001 distinct cells are kept per column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tables.columns import ColumnType, DateForm
from trainer.column_forms import Form, convert, read
from trainer.table_blocks import Source
from wire import errors

DISTINCT_LIMIT: Final = 1_000
"""Distinct values are counted exactly up to here."""

TEXT_FORMS: Final[tuple[Form, ...]] = (
    "plain",
    "comma",
    "grouped",
    "boolean",
    "iso",
    "dotted",
    "day_first",
    "month_first",
)
"""All forms, in the order in which a column that fits several takes one."""

_NATIVE: Final[dict[pa.DataType, ColumnType]] = {pa.float64(): "number", pa.bool_(): "boolean"}
_SLICE: Final = 8_192
_DATES: Final = ("dotted", "day_first", "month_first")
_NUMBERS: Final = ("plain", "comma", "grouped")
_DATE_FORMS: Final[dict[str, DateForm]] = {"iso": "iso", "dotted": "day_first", "day_first": "day_first"}


@dataclass(frozen=True)
class ColumnFacts:
    """What is known of a column after one pass.

    ``form`` is how its text cells are written (None: they are text, or the file declares the
    type). ``distinct`` is None when there are more than 1,000 distinct cells.
    """

    name: str
    type: ColumnType
    form: Form | None
    missing: int
    distinct: int | None
    rows: int

    @property
    def date_form(self) -> DateForm:
        """How a request may write the column's dates, besides ISO."""
        return _DATE_FORMS.get(self.form or "iso", "month_first")

    @property
    def empty(self) -> bool:
        """Whether no cell holds anything."""
        return self.missing == self.rows


@dataclass
class Sieve:
    """One column on its way through the blocks."""

    name: str
    rows: int = 0
    missing: int = 0
    infinite: bool = False
    native: ColumnType | None = None
    forms: list[Form] = field(default_factory=lambda: list(TEXT_FORMS))
    cells: pa.Array | None = None
    many: bool = False

    def add(self, cells: pa.Array) -> None:
        """Look at one block of the column."""
        self.rows += len(cells)
        self.missing += cells.null_count
        if cells.null_count == len(cells):
            return
        if pa.types.is_string(cells.type):
            self._sift(cells)
        else:
            self.native = _NATIVE.get(cells.type, "date")
            self.infinite |= self.native == "number" and _has_infinity(cells)
        for start in range(0, len(cells), _SLICE):
            if not self.many:
                self._note_distinct(cells.slice(start, _SLICE))

    def facts(self, source: Source) -> ColumnFacts:
        """The verdict. Raises errors.BadInput when a number column holds infinite numbers."""
        form = None if self.native else self._form(source.thousands_comma)
        kind = self.native or _type_of(form)
        if self.missing == self.rows:
            form, kind = None, "text"
        if kind == "number" and self.infinite:
            raise errors.BadInput(
                f"Column '{self.name}' has infinite numbers or numbers beyond 1.8e308.",
                hint="Leave such cells empty or put finite numbers there.",
            )
        source.check(self.name, kind == "text")
        return ColumnFacts(self.name, kind, form, self.missing, self._distinct(form), self.rows)

    def _sift(self, cells: pa.Array) -> None:
        kept: list[Form] = []
        for form in self.forms:
            # Every form of a date reads ISO as well.
            if (form in _DATES and "iso" in kept) or self._fits(form, cells):
                kept.append(form)
        self.forms = kept

    def _fits(self, form: Form, cells: pa.Array) -> bool:
        values = read(form, cells)
        if values is not None and form == "plain":
            self.infinite |= _has_infinity(values)
        return values is not None

    def _form(self, thousands_comma: bool | None) -> Form | None:
        left = self.forms
        if left and left[0] == "comma" and "grouped" in left:
            # Every cell looks like 1,234: what the comma means, only the separator tells.
            return {True: "grouped", False: "comma", None: None}[thousands_comma]
        if left == ["day_first", "month_first"]:
            return None
        return left[0] if left else None

    def _note_distinct(self, cells: pa.Array) -> None:
        known = cells if self.cells is None else pa.concat_arrays([self.cells, cells])
        self.cells = pc.unique(known.drop_null())
        if len(self.cells) > DISTINCT_LIMIT:
            self.cells, self.many = None, True

    def _distinct(self, form: Form | None) -> int | None:
        if self.many or self.cells is None:
            return None if self.many else 0
        # 1 and 1.0 are two cells and one value.
        values = convert(form, self.cells) if form else self.cells
        return int(pc.count_distinct(values).as_py())


def infer(source: Source) -> tuple[ColumnFacts, ...]:
    """The facts of all columns, in one pass. Raises errors.BadInput, also when there are no rows."""
    sieves = [Sieve(name) for name in source.names]
    for block in source.blocks():
        for sieve, cells in zip(sieves, block.columns, strict=True):
            sieve.add(cells)
    if not sieves or sieves[0].rows == 0:
        raise errors.BadInput("The table has no rows.", hint="Upload a table with a header and rows.")
    return tuple(sieve.facts(source) for sieve in sieves)


def count_values(source: Source, facts: ColumnFacts) -> int | None:
    """Distinct values of a column that has more than 1,000 distinct cells; None: more than 1,000.

    Texts can be written in several ways only where they stand for numbers or dates, so this second
    look is rare, and it ends at the first block that shows enough.
    """
    known: pa.Array | None = None
    for block in source.blocks([facts.name]):
        values = convert(facts.form, block.column(0)) if facts.form else block.column(0)
        fresh = pc.unique(values.drop_null())
        known = fresh if known is None else pc.unique(pa.concat_arrays([known, fresh]))
        if len(known) > DISTINCT_LIMIT:
            return None
    return 0 if known is None else len(known)


def _type_of(form: Form | None) -> ColumnType:
    if form is None:
        return "text"
    if form in _NUMBERS:
        return "number"
    return "boolean" if form == "boolean" else "date"


def _has_infinity(numbers: pa.Array) -> bool:
    return pc.any(pc.is_inf(numbers)).as_py() is True
