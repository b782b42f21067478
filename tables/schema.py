"""The columns a version was fitted on, in feature order: written at publish, read at load.

Stored as ``schema.json`` beside the model and inside the manifest, so what decodes a request is
what decoded the training data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from tables import cells
from tables.columns import COLUMN_TYPES, DATE_FORMS, Column
from tables.errors import BadSchema

FORMAT: Final = 1
"""Version of the stored form; a reader refuses another."""


class _Stored(msgspec.Struct):
    columns: list[Column]
    ignored: list[str] = []
    format: int = FORMAT


@dataclass(frozen=True)
class Schema:
    """The feature columns, in the order of a plain row.

    ``ignored`` are names a named row may carry without effect (columns of the training table that
    held nothing). Raises BadSchema when names repeat, a type is unknown, or a date has no origin.
    """

    columns: tuple[Column, ...]
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns] + list(self.ignored)
        if not self.columns or len(set(names)) != len(names):
            raise BadSchema("a schema needs at least one column, and every name once")
        for column in self.columns:
            if column.type not in COLUMN_TYPES or column.date_form not in DATE_FORMS:
                raise BadSchema("a column has an unknown type or date form")
            if column.type == "date" and cells.parse_date(column.origin or "") is None:
                raise BadSchema("a date column has no origin")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All feature names, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def number_columns(self) -> tuple[Column, ...]:
        """Columns that become float64: numbers, booleans and dates, in order."""
        return tuple(column for column in self.columns if column.type != "text")

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """Names of the columns of ``Batch.numbers``."""
        return tuple(column.name for column in self.number_columns)

    @cached_property
    def text_names(self) -> tuple[str, ...]:
        """Names of the columns of ``Batch.texts``."""
        return tuple(column.name for column in self.columns if column.type == "text")

    @cached_property
    def only_numbers(self) -> bool:
        """Whether every column is of type ``number``: the shape the fastest decoding serves."""
        return all(column.type == "number" for column in self.columns)

    def to_builtins(self) -> dict[str, Any]:
        """The stored form as plain JSON values, for a manifest's ``features``."""
        stored: dict[str, Any] = msgspec.to_builtins(_Stored(list(self.columns), list(self.ignored)))
        return stored

    def encode(self) -> bytes:
        """The bytes of ``schema.json``."""
        return msgspec.json.encode(self.to_builtins())

    @classmethod
    def decode(cls, raw: bytes | memoryview) -> Schema:
        """Read what ``encode`` wrote. Raises BadSchema."""
        try:
            stored = msgspec.json.decode(raw, type=_Stored)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadSchema("not a schema") from error
        return cls._checked(stored)

    @classmethod
    def from_builtins(cls, value: Any) -> Schema:
        """Read what ``to_builtins`` gave. Raises BadSchema."""
        try:
            stored = msgspec.convert(value, _Stored)
        except msgspec.ValidationError as error:
            raise BadSchema("not a schema") from error
        return cls._checked(stored)

    @classmethod
    def _checked(cls, stored: _Stored) -> Schema:
        if stored.format != FORMAT:
            raise BadSchema(f"schema format {stored.format} is not {FORMAT}")
        return cls(tuple(stored.columns), tuple(stored.ignored))


def listed(names: Sequence[str], limit: int = 300) -> str:
    """Names for a sentence, cut after about ``limit`` characters: ``age, income and 12 more``."""
    shown: list[str] = []
    used = 0
    for name in names:
        used += len(name) + 2
        if shown and used > limit:
            break
        shown.append(name)
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
