"""Measures a runtime at the batch sizes that serving meets, and chooses the cheaper one.

The rule: a batch of 1 row counts 6 parts, of 100 rows 3 parts, of 10,000 rows 1 part, because
serving traffic is mostly small batches; the ratio of the two runtimes' times is averaged by
these weights on a logarithmic scale, and the graph is served unless scikit-learn is ahead.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np

from model_store.runtime.outputs import PART_ROWS, Runtime
from trainer.compile.edge_rows import Rows

WEIGHTS = {1: 0.6, 100: 0.3, 10_000: 0.1}
"""Rows in a batch, and how much such a batch counts."""

RULE = "geometric mean of the speed ratios at 1, 100 and 10,000 rows, weighted 6:3:1; the graph unless it is below 1"
"""The rule in words, for the manifest."""

_AT_LEAST = 3
_SLOW_S = 2.0
_MOST = 2_000

Speed = dict[int, float]
"""Microseconds per batch by its rows."""


class Measured(NamedTuple):
    """What one runtime takes, and for which sizes that was reckoned and not measured."""

    speed: Speed
    reckoned: tuple[int, ...]


def measure(runtime: Runtime, rows: Rows, budget_s: float) -> Measured:
    """The median time of a batch with probabilities, asked as it is served. Each size gets a third of ``budget_s``.

    A batch that takes longer than that is asked twice, and the shorter time counts; 10,000 rows that would take
    over two seconds, going by what each of 100 rows costs beyond the first, are reckoned and not measured.
    """
    measured: Speed = {}
    reckoned: list[int] = []
    for size in WEIGHTS:
        reckoned_us = _reckoned(measured, size)
        if reckoned_us * 1e-6 > _SLOW_S:
            measured[size] = round(reckoned_us, 1)
            reckoned.append(size)
            continue
        batch = rows.take(np.resize(np.arange(len(rows)), size))
        measured[size] = round(_median_us(runtime, batch, budget_s / len(WEIGHTS)), 1)
    return Measured(measured, tuple(reckoned))


def _reckoned(measured: Speed, size: int) -> float:
    """What a batch should take by the two smaller ones, 0 as long as there are not two."""
    if len(measured) < 2:
        return 0.0
    (fewer, less_us), (more, more_us) = measured.items()
    return more_us + max(more_us - less_us, 0.0) / (more - fewer) * (size - more)


def _median_us(runtime: Runtime, batch: Rows, budget_s: float) -> float:
    first_us = _asked_us(runtime, batch)
    if first_us * 1e-6 > budget_s:
        # The machine may have been busy with something else.
        return min(first_us, _asked_us(runtime, batch))
    until = time.monotonic() + budget_s
    times: list[float] = []
    while len(times) < _AT_LEAST or (time.monotonic() < until and len(times) < _MOST):
        times.append(_asked_us(runtime, batch))
    return float(np.median(times))


def _asked_us(runtime: Runtime, batch: Rows) -> float:
    """Microseconds of one batch, asked as a predictor asks: a graph in parts, a pipeline at once."""
    begin = time.perf_counter_ns()
    step = PART_ROWS if runtime.kind == "onnx" else len(batch)
    for start in range(0, len(batch), step):
        batch.take(slice(start, start + step)).ask(runtime)
    return (time.perf_counter_ns() - begin) / 1000


def ratio(graph: Speed, native: Speed) -> float:
    """How many times faster the graph is, by the rule; below 1 scikit-learn is ahead."""
    return math.exp(sum(weight * math.log(native[size] / graph[size]) for size, weight in WEIGHTS.items()))
