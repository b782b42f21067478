"""Rows that are numbers and nothing else: from JSON text to float64 at the speed of a SIMD parser.

Beneath ``tables.rows`` and ``tables.joined``. A table of numbers is known by its skeleton: without
digits, signs and white space exactly ``[,,],[,,]`` is left, which is compared as a whole; what is
between is then the parser's to judge. Long texts are parsed in pieces, so that no other thread of
the process waits for long.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import simdjson
from numpy.typing import NDArray

from tables.batch import Batch, text_table

PIECE_BYTES: Final = 65_536
"""Text parsed at once: about a tenth of a millisecond, in which no other Python thread runs."""

_IN_NUMBERS: Final = b"0123456789+-.eE \t\n\r"


class _Parser(threading.local):
    """One SIMD parser per thread; it keeps its buffers between documents."""

    def __init__(self) -> None:
        self.parser = simdjson.Parser()


_local = _Parser()


def numbers(text: bytes, width: int) -> NDArray[np.float64] | None:
    """Rows ``[…],[…]`` of ``width`` numbers each, without their outer brackets, as (rows, width); or None."""
    pieces = []
    for piece in _pieces(text):
        table = _table(piece, width)
        if table is None:
            return None
        pieces.append(table)
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def batch(table: NDArray[np.float64]) -> Batch:
    """Rows without texts."""
    return Batch(table, text_table((), len(table)))


def _pieces(text: bytes) -> Iterator[bytes]:
    """The text cut at commas between rows, which belong to no piece."""
    start = 0
    while len(text) - start > PIECE_BYTES:
        cut = text.find(b"],", start + PIECE_BYTES)
        if cut < 0:
            break
        yield text[start : cut + 1]
        start = cut + 2
    yield text[start:]


def _table(text: bytes, width: int) -> NDArray[np.float64] | None:
    skeleton = text.translate(None, _IN_NUMBERS)
    # A caller's shape may say anything: no row is made that is longer than what it is compared with.
    if width >= len(skeleton):
        return None
    row = b"[" + b"," * (width - 1) + b"]"
    rows, rest = divmod(len(skeleton) + 1, len(row) + 1)
    if rest or skeleton != b",".join([row] * rows):
        return None
    try:
        parsed: Any = _local.parser.parse(b"[" + text + b"]")
        # A copy: the parser writes the next document over its buffer.
        flat = np.frombuffer(parsed.as_buffer(of_type="d"), dtype=np.float64)
    except (ValueError, TypeError, AttributeError, RuntimeError):
        return None
    return flat.reshape(rows, width) if len(flat) == rows * width else None
