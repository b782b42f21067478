"""CSV to blocks of text cells: separator, header and encoding found out, rows streamed by Arrow.

One of the three sources behind ``trainer.table_blocks``. Nothing larger than a block is held.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from tables.cells import parse_number
from trainer.column_forms import clean
from trainer.table_blocks import check_names
from wire import errors

BLOCK_BYTES = 8 * 1024 * 1024
"""Bytes read at once; a row must fit into one block."""

HEAD_BYTES = 256 * 1024
"""Bytes looked at to find the separator and the header."""

SEPARATORS = ",;\t|"
"""Separators that are recognised."""

_SAMPLE_ROWS = 100
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class CsvSource:
    """An opened CSV file; see ``trainer.table_blocks.Source``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        records = _head(path)
        self._separator = _separator(records)
        self._skip, header = _header(_split(records, self._separator))
        self.names = check_names(header)
        self.thousands_comma: bool | None = self._separator == ","

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows from the start, of some columns or all. Raises errors.BadInput."""
        try:
            with pa.csv.open_csv(
                self._path,
                read_options=pa.csv.ReadOptions(
                    column_names=list(self.names), skip_rows_after_names=self._skip, block_size=BLOCK_BYTES
                ),
                parse_options=pa.csv.ParseOptions(delimiter=self._separator, newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, pa.string()),
                    strings_can_be_null=False,
                    include_columns=list(columns or ()),
                ),
            ) as reader:
                block = None
                for block in reader:
                    yield pa.RecordBatch.from_arrays([clean(cells) for cells in block.columns], schema=block.schema)
        except pa.ArrowInvalid as error:
            raise self._refusal(str(error)) from None
        if block is not None and columns is None and self._never_closed(block):
            raise errors.BadInput(
                "A quotation mark is opened and never closed.", hint="Look for an odd one near the end."
            )

    def check(self, name: str, is_text: bool) -> None:
        """Text cells fit every type they were given; there is nothing left to refuse."""

    def _never_closed(self, last: pa.RecordBatch) -> bool:
        """Whether the last cell ran on to the end of the file, which Arrow lets pass."""
        cell = last.columns[-1][-1].as_py() if last.num_rows else ""
        if "\n" not in cell and "\r" not in cell:
            return False
        with self._path.open("rb") as file:
            return sum(piece.count(b'"') for piece in iter(lambda: file.read(BLOCK_BYTES), b"")) % 2 == 1

    def _refusal(self, message: str) -> errors.BadInput:
        """What is wrong with the file, found by reading it again; ``message`` is Arrow's."""
        if "UTF8" in message:
            return _not_utf8(self._path)
        if "straddling" in message:
            return errors.BadInput(
                f"A row is longer than {BLOCK_BYTES // 2**20} MiB.", hint='Is a quotation mark (") left open?'
            )
        return self._ragged()

    def _ragged(self) -> errors.BadInput:
        expected = len(self.names)
        with self._path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=self._separator)
            try:
                line = sum(0 for _ in itertools.islice(reader, self._skip)) + reader.line_num
                for record in reader:
                    if record and len(record) != expected:
                        return errors.BadInput(
                            f"The row on line {line + 1} has {len(record)} cells; the header has {expected}.",
                            hint=f"Put cells that hold the separator '{self._separator}' in quotation marks.",
                        )
                    line = reader.line_num
            except csv.Error:
                pass
        return errors.BadInput("A row has not as many cells as the header.", hint="Is a quotation mark left open?")


def _head(path: Path) -> str:
    """The first complete lines as text. Raises errors.BadInput when they are not UTF-8."""
    with path.open("rb") as file:
        raw = file.read(HEAD_BYTES)
        whole = not file.read(1)
    if raw.startswith(_UTF16):
        raise errors.BadInput("The file is UTF-16, not UTF-8.", hint="Save it as 'CSV UTF-8' and upload that.")
    cut = len(raw) if whole else max(raw.rfind(b"\n"), raw.rfind(b"\r")) + 1
    if cut == 0:
        raise errors.BadInput(f"The first line is longer than {HEAD_BYTES // 1024} KiB.", hint="Is this a CSV file?")
    try:
        return raw[:cut].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_utf8(path) from None


def _split(head: str, separator: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
    try:
        return list(itertools.islice(reader, _SAMPLE_ROWS))
    except csv.Error:
        raise errors.BadInput("A cell at the start is too long.", hint="Is a quotation mark left open?") from None


def _separator(head: str) -> str:
    """The separator with which the first rows have equally many cells, the more the better."""

    def score(separator: str) -> tuple[bool, int]:
        widths = [len(record) for record in _split(head, separator) if record]
        # The last row may be cut in two by the end of the sample.
        even = len(set(widths[:-1])) <= 1 if len(widths) > 2 else len(set(widths)) <= 1
        return (even and max(widths, default=0) > 1, widths[0] if widths else 0)

    return max(SEPARATORS, key=score)


def _header(records: list[list[str]]) -> tuple[int, list[str]]:
    """How many records to skip (blank lines and the header), and the header."""
    for at, record in enumerate(records):
        if record:
            if any("." in cell and parse_number(cell.strip()) is not None for cell in record):
                raise errors.BadInput(
                    "The first line holds numbers where column names are expected.",
                    hint="Add a header line with the column names.",
                )
            return at + 1, record
    raise errors.BadInput("The file holds no header and no rows.", hint="Upload a table with a header and rows.")


def _not_utf8(path: Path) -> errors.BadInput:
    """The refusal that names the first line which is not UTF-8."""
    line = 0
    with path.open("rb") as file:
        for raw in file:
            line += 1
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                break
    return errors.BadInput(
        f"The file is not UTF-8: line {line} has other bytes.",
        hint="Save it as 'CSV UTF-8'; a file from Excel or an older system is often Windows-1252 (Latin-1).",
    )
