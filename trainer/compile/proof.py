"""Decides whether a graph says what the pipeline says: the rule by which a graph may be served.

Same labels; probabilities within 1e-5; values within 1e-5 of the target's standard deviation;
and identical bits for a row alone and in a batch, so the same row gets the same answer whatever
batch it lands in. Tried are up to 1,000 of the rows and a sample of the sizes from 2 to 1,000.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_store.runtime.outputs import CannotPredict, Output, Runtime
from trainer.compile import edge_rows
from trainer.compile.edge_rows import Rows

PROBABILITY_TOLERANCE = 1e-5
"""Largest difference of a probability."""

VALUE_TOLERANCE = 1e-5
"""Largest difference of a regression's value, in standard deviations of the target."""

ROUNDING = 1e-12
"""Largest difference of a value, as a share of itself: far outside the training range float64 has no finer digits."""

HELD_OUT_ROWS = 1_000
"""Most held-out rows compared."""

FEWEST_ROWS = 250
"""Held-out rows compared however slow the pipeline is, and half of the made ones."""

_ALWAYS = (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 511, 512, 513)
_LARGEST = 1_000


class NotEqual(Exception):
    """The graph's answers are not the pipeline's; the message says where they part."""


@dataclass(frozen=True)
class Reference:
    """What the pipeline answers: rows, answers, and how many of the rows are of which kind.

    ``spread`` is the target's standard deviation. The held-out rows come first. ``refused``
    rows got no answer from the pipeline (numbers beyond float32) and are not compared.
    """

    rows: Rows
    output: Output
    spread: float
    held_out: int
    made: int
    boundary: int
    refused: int

    def counts(self) -> dict[str, int]:
        """For the report."""
        return {
            "held_out_rows": self.held_out,
            "edge_rows": self.made,
            "boundary_rows": self.boundary,
            "refused_rows": self.refused,
        }


def reference(native: Runtime, held_out: Rows, spread: float, budget_s: float) -> Reference:
    """Ask the pipeline. ``budget_s`` bounds the search for boundaries and, for a slow pipeline, the rows."""
    begin = time.monotonic()
    held_out = _thinned(held_out, HELD_OUT_ROWS)
    affordable = _affordable(native, held_out, budget_s)
    made = _thinned(edge_rows.generate(held_out), 2 * affordable)
    held_out = _thinned(held_out, affordable)
    boundary = edge_rows.at_boundaries(native, held_out, begin + budget_s)
    rows = edge_rows.join(held_out, made, boundary)
    kept = rows.take(_answered(native, rows))
    return Reference(kept, kept.ask(native), spread, len(held_out), len(made), len(boundary), len(rows) - len(kept))


def _affordable(native: Runtime, rows: Rows, budget_s: float) -> int:
    """How many rows the pipeline answers in half of ``budget_s``, at least FEWEST_ROWS."""
    times = []
    for size in (10, 110):
        batch = rows.take(np.resize(np.arange(len(rows)), size))
        begin = time.monotonic()
        batch.ask(native)
        times.append(time.monotonic() - begin)
    per_row_s = max(times[1] - times[0], 1e-9) / 100
    return int(min(max(budget_s / 2 / per_row_s, FEWEST_ROWS), HELD_OUT_ROWS))


def _thinned(rows: Rows, most: int) -> Rows:
    return rows if len(rows) <= most else rows.take(np.linspace(0, len(rows) - 1, most).astype(int))


def _answered(native: Runtime, rows: Rows) -> NDArray[np.bool_]:
    """Which rows the pipeline answers at all, found by halving."""
    answered = np.ones(len(rows), dtype=bool)
    waiting = [(0, len(rows))]
    while waiting:
        begin, end = waiting.pop()
        try:
            rows.take(slice(begin, end)).ask(native)
        except CannotPredict:
            if end - begin == 1:
                answered[begin] = False
            else:
                middle = (begin + end) // 2
                waiting += [(begin, middle), (middle, end)]
    return answered


def compare(graph: Runtime, expected: Reference) -> dict[str, Any]:
    """The largest differences over all rows. Raises NotEqual when one is over its tolerance."""
    try:
        answer = expected.rows.ask(graph)
    except CannotPredict as error:
        raise NotEqual(f"no answer: {error.__cause__}") from error
    if expected.output.labels.dtype == np.int64:
        return _compare_classes(answer, expected.output)
    off = _distance(answer.labels, expected.output.labels)
    with np.errstate(invalid="ignore"):
        allowed = VALUE_TOLERANCE * expected.spread + ROUNDING * np.abs(expected.output.labels)
    allowed[~np.isfinite(allowed)] = 0.0
    if np.any(off > allowed):
        raise NotEqual(f"a value differs by {float(np.max(off[off > allowed])):.3g}")
    return {"largest_value_difference": float(off[: expected.held_out].max()), "target_spread": expected.spread}


def _compare_classes(answer: Output, expected: Output) -> dict[str, Any]:
    wrong = int(np.sum(answer.labels != expected.labels))
    if wrong:
        raise NotEqual(f"another label on {wrong} of {len(expected.labels)} rows")
    if expected.probabilities is None:
        return {"largest_probability_difference": None}
    if answer.probabilities is None or answer.probabilities.shape != expected.probabilities.shape:
        raise NotEqual("the probabilities have another shape")
    largest = float(np.max(_distance(answer.probabilities, expected.probabilities)))
    if largest > PROBABILITY_TOLERANCE:
        raise NotEqual(f"a probability differs by {largest:.3g}")
    return {"largest_probability_difference": largest}


def _distance(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute difference; 0 where both are the same infinity or both not a number."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        off = np.abs(one - other)
    off[np.isnan(off)] = np.inf
    return np.where(same, 0.0, off)


def batches(graph: Runtime, rows: Rows, budget_s: float) -> dict[str, Any]:
    """Rows alone, then the same ones in batches of 2 to 1,000, each at another offset; bits must not differ.

    The rows are a sample of all that were compared. Sizes next to powers of two and the largest come
    first, then all others in a fixed random order until ``budget_s`` is over. Raises NotEqual.
    """
    until = time.monotonic() + budget_s
    rows = _sample(rows)
    alone: list[tuple[bytes, bytes]] = []
    for place in range(len(rows)):
        alone += _bits(graph, rows.take(slice(place, place + 1)))
        if time.monotonic() > until - budget_s / 2 and place >= 2:
            break
    others = np.random.default_rng(3).permutation(np.arange(2, _LARGEST)).tolist()
    sizes = [*_ALWAYS, _LARGEST, *(size for size in others if size not in _ALWAYS)]
    proven = 0
    for turn, size in enumerate(sizes):
        places = np.resize(np.roll(np.arange(len(alone)), -turn * 7), size)
        together = _bits(graph, rows.take(places))
        if any(alone[place] != bits for place, bits in zip(places.tolist(), together, strict=True)):
            raise NotEqual(f"a row gets other bits in a batch of {size} than alone")
        proven += 1
        if time.monotonic() > until and proven > len(_ALWAYS):
            break
    return {"batch_sizes": proven, "largest_batch": _LARGEST, "rows_alone": len(alone)}


def _sample(rows: Rows) -> Rows:
    """Up to as many rows as the largest batch, evenly from first to last.

    Shuffled, so that where time is short the first few are of all kinds too.
    """
    places = np.linspace(0, len(rows) - 1, min(len(rows), _LARGEST)).astype(int)
    return rows.take(np.random.default_rng(2).permutation(places))


def _bits(graph: Runtime, rows: Rows) -> list[tuple[bytes, bytes]]:
    output = rows.ask(graph)
    scores = output.probabilities
    return [
        (label.tobytes(), b"" if scores is None else scores[place].tobytes())
        for place, label in enumerate(output.labels)
    ]
