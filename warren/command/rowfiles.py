"""Rows of a CSV or JSON-lines file, or of standard input, read piece by piece with their line numbers.

Between bytes and ``command.scoring``. However large the file is, one piece is held at a time; a
row that can't be read is a row with a fault, and the file goes on.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import msgspec

from warren.answers import Feature
from warren.cells import Cell
from warren.command.columns import Columns
from warren.errors import InvalidRows

Kind = Literal["csv", "jsonl"]
"""The formats that can be read and written."""
MAX_LINE_BYTES = 8 * 1024 * 1024
"""Longest line; a file without line ends would otherwise fill the memory."""
_SEPARATORS = ",;\t|"
_MAX_PIECE_BYTES = 4 * 1024 * 1024


@dataclass
class Row:
    """A row: the line it begins on, its cells as they travel, what stood there, and what is wrong with it."""

    line: int
    cells: list[Cell]
    source: Any = None
    fault: str = ""
    prediction: Any = None
    probabilities: Sequence[float] | None = None


@dataclass
class Piece:
    """Rows that travel in one request; ``read_bytes``: how far into the file they go."""

    rows: list[Row] = field(default_factory=list)
    read_bytes: int = 0


class Lines:
    """A file's lines as bytes, counted."""

    def __init__(self, file: BinaryIO) -> None:
        """``file`` is at its beginning."""
        self._file = file
        self.number = 0
        self.read_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Every line with its end. Raises InvalidRows for one that is too long."""
        while line := self._file.readline(MAX_LINE_BYTES + 1):
            self.number += 1
            self.read_bytes += len(line)
            if len(line) > MAX_LINE_BYTES:
                raise InvalidRows(f"Line {self.number} is longer than {MAX_LINE_BYTES} bytes. Is this a table?")
            yield line.removeprefix(b"\xef\xbb\xbf") if self.number == 1 else line

    def texts(self) -> Iterator[str]:
        """The same as text. Raises InvalidRows where it is not UTF-8."""
        for line in self:
            try:
                yield line.decode()
            except UnicodeDecodeError:
                raise InvalidRows(f"Line {self.number} is not UTF-8; save the table as UTF-8.") from None


class CsvRows:
    """A CSV file with a header; ``header`` and ``columns`` are known at once."""

    def __init__(self, lines: Lines, features: Sequence[Feature], separator: str = "") -> None:
        """Reads the header. Raises InvalidRows."""
        self._lines = lines
        texts = lines.texts()
        first = next((text for text in texts if text.strip()), "")
        separator = separator or max(_SEPARATORS, key=first.count)
        # A cell may be as long as a line; the csv module's own bound is lower.
        csv.field_size_limit(MAX_LINE_BYTES)
        self._reader = csv.reader(_after(first, texts), delimiter=separator)
        self.header = [name.strip() for name in next(self._reader, [])]
        if not any(self.header):
            raise InvalidRows("The file has no header and no rows.")
        if len({*self.header}) != len(self.header):
            raise InvalidRows("Two columns of the file have the same name; rename one.")
        self.columns = Columns(features, self.header)
        if len(self.columns.missing) == len(features):
            known = ", ".join(feature.name for feature in features[:20])
            raise InvalidRows(f"None of the model's columns is in the file's header. They are: {known}.")

    def __iter__(self) -> Iterator[Row]:
        """Every row. Raises InvalidRows where the file can't be read on."""
        width = len(self.header)
        while True:
            begins = self._lines.number + 1
            try:
                cells = next(self._reader, None)
            except csv.Error as error:
                raise InvalidRows(f"Line {begins} cannot be read: {error}. Is a quotation mark left open?") from None
            if cells is None:
                return
            if len(cells) == width:
                yield Row(begins, self.columns.row(cells), cells)
            elif cells:
                fault = f"has {len(cells)} cells where the header has {width}"
                yield Row(begins, [], [*cells, *[""] * (width - len(cells))][:width], fault)


class JsonRows:
    """JSON lines: an object or an array of cells in each; ``unused`` are names that the model does not know."""

    def __init__(self, lines: Lines, features: Sequence[Feature]) -> None:
        """``features``: the version's columns."""
        self._lines = lines
        self._names = [feature.name for feature in features]
        self._known = frozenset(self._names)
        self.unused: set[str] = set()

    def __iter__(self) -> Iterator[Row]:
        """Every row."""
        decode = msgspec.json.Decoder(dict[str, Any] | list[Any]).decode
        for line in self._lines:
            if not line.strip():
                continue
            try:
                source = decode(line)
            except ValueError:
                yield Row(self._lines.number, [], {}, "is no JSON object or array")
                continue
            if isinstance(source, list):
                yield Row(self._lines.number, source, source)
            elif not self._known & source.keys():
                yield Row(self._lines.number, [], source, "has none of the model's columns")
            else:
                if len(self.unused) < 100:
                    self.unused |= source.keys() - self._known
                yield Row(self._lines.number, [source.get(name) for name in self._names], source)


def pieces(rows: CsvRows | JsonRows, lines: Lines, size: int) -> Iterator[Piece]:
    """Rows in pieces of ``size``, smaller ones where rows are long."""
    piece, began = Piece(), lines.read_bytes
    for row in rows:
        piece.rows.append(row)
        if len(piece.rows) >= size or lines.read_bytes - began > _MAX_PIECE_BYTES:
            piece.read_bytes = began = lines.read_bytes
            yield piece
            piece = Piece()
    if piece.rows:
        piece.read_bytes = lines.read_bytes
        yield piece


def _after(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
