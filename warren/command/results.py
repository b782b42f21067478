"""Predictions into a CSV or JSON-lines file, or to standard output, each beside the row it belongs to.

Between ``command.scoring`` and a file, which appears under its name only when it is whole.
"""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from warren import outputs
from warren.answers import Scalar
from warren.command.rowfiles import Row
from warren.errors import InvalidRows

PREDICTION = "prediction"
"""The name of the column that is added."""


class CsvResults:
    """Writes CSV: the columns of the input, then the prediction, then a probability for each class."""

    def __init__(self, header: Sequence[str], classes: Sequence[Scalar] | None, *, alone: bool) -> None:
        """``header``: the input's columns; ``classes``: with probabilities; ``alone``: without the input.

        Raises InvalidRows when a column of the input has the name of one that is added.
        """
        added = [PREDICTION, *(f"probability_{text(name)}" for name in classes or ())]
        self._kept = [] if alone else list(header)
        clash = {*self._kept} & {*added}
        if clash:
            raise InvalidRows(
                f"The input has a column {sorted(clash)[0]} already; rename it, or use --only-predictions."
            )
        self._blank = [""] * len(added)
        self._header: list[str] = [*self._kept, *added]
        self._alone = alone

    def head(self) -> bytes:
        """The first line."""
        return _csv([self._header])

    def rows(self, rows: Sequence[Row]) -> bytes:
        """The lines of rows; one with a fault has no prediction."""
        return _csv([[*self._source(row), *self._added(row)] for row in rows])

    def _source(self, row: Row) -> Sequence[str]:
        if self._alone:
            return ()
        return row.source if len(row.source) == len(self._kept) else [""] * len(self._kept)

    def _added(self, row: Row) -> list[Any]:
        if row.fault:
            return self._blank
        return [text(row.prediction), *(row.probabilities or ())]


class JsonResults:
    """Writes JSON lines: the members of the input row, then ``prediction`` and ``probabilities``, or ``error``."""

    def __init__(self, header: Sequence[str], classes: Sequence[Scalar] | None, *, alone: bool) -> None:
        """``header``: names of the input's columns where it is CSV; ``classes``: with probabilities."""
        self._names = header
        self._classes = [text(name) for name in classes or ()]
        self._alone = alone

    def head(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """The lines of rows; one with a fault says its line and what is wrong."""
        return b"".join(msgspec.json.encode(self._line(row)) + b"\n" for row in rows)

    def _line(self, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if not self._alone:
            found = (
                dict(row.source) if isinstance(row.source, dict) else dict(zip(self._names, row.source, strict=False))
            )
        if row.fault:
            return found | {PREDICTION: None, "error": row.fault, "line": row.line}
        found[PREDICTION] = row.prediction
        if row.probabilities:
            found["probabilities"] = dict(zip(self._classes, row.probabilities, strict=False))
        return found


Results = CsvResults | JsonResults
"""Either writer."""


def text(value: Scalar) -> str:
    """A class or a value as a CSV cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[BinaryIO]:
    """The file to write to, standard output where ``path`` is None.

    What is a file is written beside its place and put there at the end, see ``outputs.replacing``.
    """
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with outputs.replacing(path) as file:
        yield file


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()
