"""Typed rows: what comes out of decoding and goes into a model's runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Rows decoded by a schema.

    ``numbers``: float64 ``(n, k)``, C order, NaN for missing; the schema's number, boolean and
    date columns in order. ``texts``: object ``(n, m)`` of str, ``""`` for missing.
    """

    numbers: NDArray[np.float64]
    texts: NDArray[np.object_]

    def __len__(self) -> int:
        """Count of rows."""
        return len(self.numbers)

    def split(self, sizes: Sequence[int]) -> Iterator[Batch]:
        """Consecutive parts (views) of the given row counts, which sum to the batch's own."""
        start = 0
        for size in sizes:
            yield self.rows(start, start + size)
            start += size

    def rows(self, start: int, stop: int) -> Batch:
        """Rows ``start`` to ``stop`` (exclusive), as views."""
        return Batch(self.numbers[start:stop], self.texts[start:stop])


def concat(batches: Sequence[Batch]) -> Batch:
    """One batch of all rows, in order; the batches (at least one) have the same columns."""
    if len(batches) == 1:
        return batches[0]
    return Batch(
        np.concatenate([batch.numbers for batch in batches]),
        np.concatenate([batch.texts for batch in batches]),
    )


def number_table(columns: Sequence[Any], rows: int) -> NDArray[np.float64]:
    """``numbers`` from its columns: float64 ``(rows, len(columns))`` in C order."""
    table = np.empty((rows, len(columns)), dtype=np.float64)
    for at, column in enumerate(columns):
        table[:, at] = column
    return table


def text_table(columns: Sequence[Any], rows: int) -> NDArray[np.object_]:
    """``texts`` from its columns: object ``(rows, len(columns))``."""
    table = np.empty((rows, len(columns)), dtype=object)
    for at, column in enumerate(columns):
        table[:, at] = column
    return table
