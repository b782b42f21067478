"""JSON lines to blocks of text cells: one object per line, as rows sent within a request are stored.

One of the three sources behind ``trainer.table_blocks``. Cells become the text a CSV would hold,
so that a table has the same types whichever file carries it; mixtures a later request could not
repeat are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import isinf
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from tables import careful
from tables.errors import NotJson
from trainer.column_forms import clean
from trainer.table_blocks import check_names
from wire import errors

BLOCK_ROWS = 16_384
"""Rows held at once."""

CellKind = Literal["text", "integer", "fraction", "boolean"]


class JsonlSource:
    """An opened file of JSON lines; see ``trainer.table_blocks.Source``."""

    thousands_comma: bool | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kinds: dict[str, set[CellKind]] = {}
        for line, row in self._rows():
            for name, cell in row.items():
                kinds = self._kinds.setdefault(name, set())
                if cell is not None:
                    kinds.add(_kind(name, cell, line))
        self._stored = dict(zip(check_names(list(self._kinds)), self._kinds, strict=True))
        self.names = tuple(self._stored)

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows from the start, of some columns or all. Raises errors.BadInput."""
        names = list(columns or self.names)
        rows = (row for _, row in self._rows())
        while block := list(islice(rows, BLOCK_ROWS)):
            cells = ([_text(row.get(self._stored[name])) for row in block] for name in names)
            yield pa.RecordBatch.from_arrays([clean(pa.array(each, pa.string())) for each in cells], names=names)

    def check(self, name: str, is_text: bool) -> None:
        """Refuse a mixture of kinds that a request for a prediction could not repeat."""
        kinds = self._kinds[self._stored[name]]
        if (is_text and "fraction" in kinds) or ("boolean" in kinds and len(kinds) > 1):
            raise errors.BadInput(
                f"Column '{name}' mixes {', '.join(sorted(kinds))} values.",
                hint="Write all its values the same way: quote them all to make it text.",
            )

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self._path.open("rb") as file:
            for line, raw in enumerate(file, start=1):
                if raw.strip():
                    yield line, _row(raw, line)


def _row(raw: bytes, line: int) -> dict[str, Any]:
    try:
        row = careful.parse(raw)
    except NotJson as error:
        raise errors.BadInput(f"Row {line} cannot be read: {error}.") from None
    if not isinstance(row, dict):
        raise errors.BadInput(f"Row {line} is not an object of named values.")
    if not all(map(careful.is_unicode, row)):
        raise errors.BadInput(f"Row {line} has a name with half a character (a lone surrogate).")
    return row


def _kind(name: str, cell: Any, line: int) -> CellKind:
    if isinstance(cell, bool):
        return "boolean"
    if isinstance(cell, str) and careful.is_unicode(cell):
        return "text"
    if isinstance(cell, int):
        return "integer"
    if isinstance(cell, float) and not isinf(cell):
        return "fraction"
    what = "a number out of range" if isinstance(cell, float) else "a value that is no number, text, boolean or null"
    raise errors.BadInput(f"Column '{name.strip()}' has {what} in row {line}.")


def _text(cell: Any) -> str | None:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell if cell is None or isinstance(cell, str) else repr(cell)
