"""A table file as a stream of blocks: bytes on disk come in, Arrow columns of bounded size go out.

First step of reading a dataset, the same for CSV, Parquet and JSON lines. A block's columns are
text cells (cleaned, null for missing) or, where Parquet says so, float64, bool or moments. What
cannot be read is refused as errors.BadInput, with a sentence that says what to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa

from wire import errors

Kind = Literal["csv", "parquet", "jsonl"]
"""How a dataset is written."""

LONGEST_NAME = 128
"""Characters of a column name; names stand in error messages."""

MOST_COLUMNS = 10_000
"""Columns of a table."""

_EXCEL_OR_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"


class Source(Protocol):
    """An opened table file."""

    names: tuple[str, ...]
    thousands_comma: bool | None
    """Whether ``1,234`` is a thousand (CSV with commas) or 1.234 (other CSV); None: can't be told."""

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows from the start, of some columns or all. Raises errors.BadInput."""

    def check(self, name: str, is_text: bool) -> None:
        """A last look once the type of a column is known. Raises errors.BadInput."""


def open_source(path: Path, kind: Kind) -> Source:
    """Open a dataset. Raises errors.BadInput when the file is not what ``kind`` says."""
    if path.stat().st_size == 0:
        raise errors.BadInput("The file is empty (zero bytes).", hint="Upload a table with a header and rows.")
    _check_magic(path, kind)
    if kind == "csv":
        from trainer.csv_source import CsvSource

        return CsvSource(path)
    if kind == "parquet":
        from trainer.parquet_source import ParquetSource

        return ParquetSource(path)
    from trainer.jsonl_source import JsonlSource

    return JsonlSource(path)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Column names without surrounding white space.

    Raises errors.BadInput when one is empty, too long, or there twice.
    """
    cleaned = tuple(name.strip() for name in names)
    if len(cleaned) > MOST_COLUMNS:
        raise errors.BadInput(f"The table has {len(cleaned)} columns; at most {MOST_COLUMNS} are read.")
    seen: dict[str, int] = {}
    for at, name in enumerate(cleaned, start=1):
        if not name:
            raise errors.BadInput(
                f"Column {at} has no name in the header.",
                hint="Name it, or remove it: pandas writes an unnamed row number unless index=False.",
            )
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise errors.BadInput(
                f"The name of column {at} is longer than {LONGEST_NAME} characters or has control characters.",
                hint="Does the first line hold the column names?",
            )
        if name in seen:
            raise errors.BadInput(
                f"Columns {seen[name]} and {at} have the same name '{name}'.", hint="Give every column its own name."
            )
        seen[name] = at
    return cleaned


def _check_magic(path: Path, kind: Kind) -> None:
    with path.open("rb") as file:
        start = file.read(4)
    if kind == "parquet":
        if start != _PARQUET:
            raise errors.BadInput("The file is not Parquet.", hint="Send CSV with content type text/csv.")
    elif start == _PARQUET:
        raise errors.BadInput("The file is Parquet.", hint="Send it with content type application/vnd.apache.parquet.")
    elif start == _EXCEL_OR_ZIP:
        raise errors.BadInput("The file is an Excel workbook or a zip archive.", hint="Export the sheet as CSV UTF-8.")
    elif start.startswith(_GZIP):
        raise errors.BadInput("The file is compressed (gzip).", hint="Decompress it before the upload.")
