"""A dataset to blocks of rows that predictors answer: what an offline prediction begins with.

From a table file and a version's schema to ``wire.row_blocks``, in the order of the file. Two passes:
the first finds how numbers are written, the second converts; memory is bounded by a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from tables.schema import Schema, listed
from trainer import row_cells
from trainer.column_forms import MOMENT, Form
from trainer.row_cells import Cells, NumberForm
from trainer.table_blocks import Source
from wire import errors, messages
from wire.row_blocks import Block, Refused, quoted

LONGEST_ROW_BYTES: Final = 4 * 1024 * 1024
"""A row that is longer as JSON is refused: no message to a predictor may be much longer. Nor is a block's part that
is carried, which the worker holds."""

PIECE_ROWS: Final = 8_192
"""Rows that are Python objects at once."""

PREDICTION: Final = "prediction"
"""The output's column of answers."""
ERROR: Final = "error"
"""The output's column of reasons why a row has no answer."""
PROBABILITY: Final = "probability_"
"""How the names of the output's probability columns begin."""

_TYPES: Final[dict[pa.DataType, messages.OutputType]] = {
    pa.float64(): "number",
    pa.bool_(): "boolean",
    MOMENT: "date",
}


@dataclass(frozen=True)
class Wanted:
    """What to read: the schema's columns, those that are carried, and the bounds of a block."""

    schema: Schema
    carried: tuple[str, ...]
    block_rows: int
    block_bytes: int


def carried_names(source: Source, asked: messages.ReadRows) -> tuple[str, ...]:
    """The input columns to carry, in the order asked for. Raises errors.BadInput."""
    names = tuple(source.names) if asked.carry_all else asked.carried
    missing = [f"columns[{at}]" for at, name in enumerate(names) if name not in source.names]
    if missing:
        raise errors.BadInput(f"The dataset lacks columns that the output is to carry: {listed(missing)}.")
    taken = [name for name in names if name in (PREDICTION, ERROR) or name.startswith(PROBABILITY)]
    if taken:
        raise errors.BadInput(
            f"The input column {listed(taken)} can't be carried: the output has columns of that name.",
            hint="Name the columns to carry one by one, without it.",
        )
    return names


def check_columns(source: Source, schema: Schema) -> None:
    """Whether the dataset has every column of the model. Raises errors.BadInput."""
    missing = [name for name in schema.names if name not in source.names]
    if missing:
        raise errors.BadInput(
            f"The dataset lacks columns of the model: {listed(missing)}.",
            hint="Columns are found by their names in the header.",
        )


def number_forms(source: Source, schema: Schema, note: Callable[[], None]) -> tuple[dict[str, Form], int]:
    """How each number column is written, and the count of rows; ``note`` is called for every block.

    Raises errors.BadInput.
    """
    numbers = [column.name for column in schema.columns if column.type == "number"] or [schema.names[0]]
    found = {name: NumberForm() for name in numbers}
    rows = 0
    for block in source.blocks(numbers):
        rows += block.num_rows
        for name, cells in zip(numbers, block.columns, strict=True):
            if pa.types.is_string(cells.type):
                found[name].add(cells)
        note()
    if rows == 0:
        raise errors.BadInput("The table has no rows.", hint="Upload a table with a header and rows.")
    return {name: form.form(source.thousands_comma) for name, form in found.items()}, rows


def blocks(source: Source, wanted: Wanted, forms: dict[str, Form]) -> Iterator[Block]:
    """The rows, in order. Raises errors.BadInput."""
    schema = wanted.schema
    names = list(dict.fromkeys((*schema.names, *wanted.carried)))
    for table in source.blocks(names):
        for start in range(0, table.num_rows, PIECE_ROWS):
            piece = table.slice(start, PIECE_ROWS)
            columns = [
                row_cells.convert(column, forms.get(column.name, "plain"), piece.column(column.name))
                for column in schema.columns
            ]
            carried = [row_cells.texts(piece.column(name)) for name in wanted.carried]
            made = _Piece(schema.names, columns, _lines(carried), "," * (len(carried) - 1), schema.only_numbers)
            yield from _cut(made, piece.num_rows, wanted)


def carried_types(table: pa.Schema, names: Sequence[str]) -> tuple[messages.OutputColumn, ...]:
    """The carried columns with the types they have in Parquet; cells of text files stay text."""
    return tuple(messages.OutputColumn(name, _TYPES.get(table.field(name).type, "text")) for name in names)


def _lines(carried: Sequence[list[str]]) -> list[str]:
    return [",".join(map(quoted, row)) for row in zip(*carried, strict=True)]


@dataclass(frozen=True)
class _Piece:
    names: Sequence[str]
    columns: Sequence[Cells]
    lines: Sequence[str]
    no_line: str
    only_numbers: bool

    def refused(self, start: int, stop: int) -> dict[int, str]:
        """The rows without an answer, counted from ``start``; a row's first problem, with its column's name."""
        found: dict[int, str] = {}
        for name, column in zip(self.names, self.columns, strict=True):
            for row, problem in column.refused.items():
                if start <= row < stop:
                    found.setdefault(row - start, f"{name} {problem}")
        return found

    def rows(self, start: int, stop: int, refused: dict[int, str]) -> bytes:
        """The other rows as JSON."""
        cells = [column.values.slice(start, stop - start) for column in self.columns]
        if self.only_numbers:
            table = np.column_stack([each.to_numpy(zero_copy_only=False).astype(np.float64) for each in cells])
            kept: Any = np.delete(table, list(refused), axis=0) if refused else table
            return orjson.dumps(np.ascontiguousarray(kept), option=orjson.OPT_SERIALIZE_NUMPY)
        rows = list(zip(*(each.to_pylist() for each in cells), strict=True))
        return orjson.dumps([row for at, row in enumerate(rows) if at not in refused] if refused else rows)


def _cut(piece: _Piece, count: int, wanted: Wanted) -> Iterator[Block]:
    for start in range(0, count, wanted.block_rows):
        yield from _within(piece, start, min(count, start + wanted.block_rows), wanted.block_bytes)


def _within(piece: _Piece, start: int, stop: int, limit_bytes: int) -> Iterator[Block]:
    """The rows as blocks of at most ``limit_bytes``, or of one row."""
    refused = piece.refused(start, stop)
    rows = piece.rows(start, stop, refused)
    carried = orjson.dumps(piece.lines[start:stop]) if piece.lines else b""
    if (len(rows) > limit_bytes or len(carried) > LONGEST_ROW_BYTES) and stop - start > 1:
        middle = (start + stop) // 2
        yield from _within(piece, start, middle, limit_bytes)
        yield from _within(piece, middle, stop, limit_bytes)
        return
    if len(rows) > LONGEST_ROW_BYTES or len(carried) > LONGEST_ROW_BYTES:
        refused, rows = {0: f"is longer than {LONGEST_ROW_BYTES // 2**20} MiB"}, b"[]"
    if len(carried) > LONGEST_ROW_BYTES:
        carried = orjson.dumps([piece.no_line])
    told = tuple(Refused(row, problem) for row, problem in sorted(refused.items()))
    yield Block(stop - start, rows, carried, told)
