"""Makes the rows on which a wrong graph would show: between the held-out rows and the proof.

Held-out rows are ordinary. A served model also meets missing cells, categories it never saw,
numbers far outside the training range, and numbers so close to a tree's threshold that
rounding them to float32 moves them across.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.runtime.outputs import CannotPredict, Numbers, Output, Runtime, Texts

EXTREMES = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e-6, 1e6, -1e6, 1e12, -1e12, 1e30, -1e30)
"""Numbers any column may be sent, whatever it held in training."""

UNKNOWN_TEXTS = ("", " ", "no such category", "\u2603", "A" * 300, "nan", "0")
"""Texts any column may be sent; the first one is a missing cell."""

_COLUMNS = 64
_PAIRS = 24
_HALVINGS = 70
_TURNS_TO_STEP = 12


@dataclass(frozen=True)
class Rows:
    """Rows as the runtimes take them."""

    numbers: Numbers
    texts: Texts

    def __len__(self) -> int:
        return len(self.numbers)

    def ask(self, runtime: Runtime) -> Output:
        """The runtime's whole answer for these rows. Raises CannotPredict."""
        return runtime.predict(self.numbers, self.texts, probabilities=True)

    def take(self, places: Any) -> Rows:
        """The rows at these places (indices, a mask or a slice)."""
        return Rows(self.numbers[places], self.texts[places])


def join(*parts: Rows) -> Rows:
    """All rows, in order."""
    return Rows(np.concatenate([part.numbers for part in parts]), np.concatenate([part.texts for part in parts]))


def generate(rows: Rows) -> Rows:
    """Rows made from given ones by changing a column at a time: missing, extreme, unknown, a hair's breadth apart.

    Deterministic. At most about 30 rows for each of up to 64 columns, and a few that change
    all columns at once.
    """
    random = np.random.default_rng(0)
    made: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def add(numbers: NDArray[Any] | None, texts: NDArray[Any] | None) -> None:
        row = random.integers(len(rows))
        made.append((rows.numbers[row] if numbers is None else numbers, rows.texts[row] if texts is None else texts))

    for column in _chosen(rows.numbers.shape[1], random):
        for value in _numbers_for(rows.numbers[:, column]):
            changed = rows.numbers[random.integers(len(rows))].copy()
            changed[column] = value
            add(changed, None)
    for column in _chosen(rows.texts.shape[1], random):
        for text in (*UNKNOWN_TEXTS, *_spelled_otherwise(rows.texts[:, column])):
            words = rows.texts[random.integers(len(rows))].copy()
            words[column] = text
            add(None, words)
    for number in (np.nan, *EXTREMES):
        add(np.full(rows.numbers.shape[1], number), np.full(rows.texts.shape[1], "", dtype=object))
    # Cells that never stood together.
    for _ in range(100):
        add(_mixed(rows.numbers, random), _mixed(rows.texts, random))
    return Rows(np.stack([number for number, _ in made]), np.stack([text for _, text in made]))


def _mixed(cells: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """A row each of whose cells is from some row."""
    places = random.integers(len(cells), size=(1, cells.shape[1]))
    mixed: NDArray[Any] = np.take_along_axis(cells, places, axis=0)[0]
    return mixed


def _chosen(count: int, random: np.random.Generator) -> list[int]:
    return list(range(count)) if count <= _COLUMNS else sorted(random.choice(count, _COLUMNS, replace=False).tolist())


def _numbers_for(column: NDArray[np.float64]) -> list[float]:
    present = column[np.isfinite(column)]
    if not len(present):
        return [np.nan, *EXTREMES]
    low, high = float(present.min()), float(present.max())
    spread = (high - low) or 1.0
    outside = [low - spread, high + spread, low - 1e3 * spread, high + 1e3 * spread]
    near: list[float] = []
    for value in present[:: max(1, len(present) // 3)][:3].tolist():
        with np.errstate(over="ignore"):
            narrow = float(np.float32(value))
        near += [narrow, np.nextafter(value, np.inf), np.nextafter(value, -np.inf), (value + narrow) / 2]
    return [np.nan, *EXTREMES, low, high, *outside, *near]


def _spelled_otherwise(column: NDArray[Any]) -> list[str]:
    known = sorted(set(column.tolist()))[:3]
    return [text.upper() for text in known] + [f" {text}" for text in known] + [text.lower() for text in known]


def at_boundaries(native: Runtime, rows: Rows, until: float) -> Rows:
    """Pairs of rows with neighbouring float64 values in one column between which the model changes its answer.

    Found by bisection on the pipeline's own answers, so thresholds are met however they are
    stored. Where answers change everywhere there is nothing to find, and a classifier without
    probabilities is left out: next to its boundary the last bit of a sum decides. ``until`` is
    the monotonic time to stop at.
    """
    random = np.random.default_rng(1)
    columns = rows.numbers.shape[1]
    first = rows.take(slice(1)).ask(native)
    if not columns or (first.probabilities is None and first.labels.dtype == np.int64):
        return rows.take(slice(0))
    left = rows.take(random.integers(len(rows), size=_PAIRS * 4))
    column = random.integers(columns, size=len(left))
    place = np.arange(len(left))
    ends = np.stack([left.numbers[place, column], rows.numbers[random.integers(len(rows), size=len(left)), column]])
    try:
        here, there = (_key(_with(left, column, end).ask(native)) for end in ends)
        worth = np.flatnonzero((here != there) & np.isfinite(ends).all(axis=0))[:_PAIRS]
        left, column, ends, here = left.take(worth), column[worth], ends[:, worth], here[worth]
        stepped = np.zeros(len(left), dtype=bool)
        for turn in range(_HALVINGS):
            if time.monotonic() > until or (turn == _TURNS_TO_STEP and not stepped.any()):
                break
            middle = ends[0] + (ends[1] - ends[0]) / 2
            same = _key(_with(left, column, middle).ask(native)) == here
            ends = np.where(np.stack([same, ~same]), middle, ends)
            stepped |= same
    except CannotPredict:
        return rows.take(slice(0))
    return join(*(_with(left, column, end).take(stepped) for end in ends))


def _with(rows: Rows, column: NDArray[Any], values: NDArray[np.float64]) -> Rows:
    numbers = rows.numbers.copy()
    numbers[np.arange(len(numbers)), column] = values
    return Rows(numbers, rows.texts)


def _key(output: Output) -> NDArray[Any]:
    """What tells two answers apart: the first class's probability where there is one, else the label or value."""
    return output.labels if output.probabilities is None else output.probabilities[:, 0]
