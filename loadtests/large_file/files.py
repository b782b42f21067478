"""The file of a bulk run: rows of the mixed table, written and read again a piece at a time.

Between ``loadtests.mixed.models``, which draws rows, and the command, which predicts them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadtests.mixed.models import Row, Table

PIECE_ROWS = 50_000
"""Rows that are drawn, or compared, at once."""
FIRST_SEED = 100
"""Seeds from here on also draw texts that no training has seen."""


def write(table: Table, rows: int, path: Path) -> None:
    """Write ``rows`` rows of ``table`` as CSV."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(table.columns)
        for row in drawn(table, rows):
            lines.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row])


def drawn(table: Table, rows: int) -> Iterator[Row]:
    """The same rows as JSON cells, one after the other."""
    for piece in pieces(table, rows):
        yield from piece


def pieces(table: Table, rows: int) -> Iterator[list[Row]]:
    """The same rows in pieces of PIECE_ROWS."""
    for number, start in enumerate(range(0, rows, PIECE_ROWS)):
        yield table.rows(min(PIECE_ROWS, rows - start), FIRST_SEED + number)


def predicted(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file that the command wrote, by column."""
    with path.open(newline="") as file:
        yield from csv.DictReader(file)
