"""Measures a runtime at the batch sizes that serving meets, and chooses the cheaper one.

The rule: a batch of 1 row counts 6 parts, of 100 rows 3 parts, of 10,000 rows 1 part, because
serving traffic is mostly small batches; the ratio of the two runtimes' times is averaged by
these weights on a logarithmic scale, and the graph is served unless scikit-learn is ahead.
"""

from __future__ import annotations

import math
import time

import numpy as np

from model_store.runtime.outputs import Runtime
from trainer.compile.edge_rows import Rows

WEIGHTS = {1: 0.6, 100: 0.3, 10_000: 0.1}
"""Rows in a batch, and how much such a batch counts."""

RULE = "geometric mean of the speed ratios at 1, 100 and 10,000 rows, weighted 6:3:1; the graph unless it is below 1"
"""The rule in words, for the manifest."""

_AT_LEAST = 3
_SLOW_S = 2.0

Speed = dict[int, float]
"""Microseconds per call by rows in the batch."""


def measure(runtime: Runtime, rows: Rows, budget_s: float) -> Speed:
    """The median time of a call with probabilities. Each size gets a third of ``budget_s``.

    A size that would take over two seconds a call is not measured but reckoned from the
    size before it.
    """
    measured: Speed = {}
    before = 1
    for size in WEIGHTS:
        expected_s = measured.get(before, 0.0) * 1e-6 * size / before
        if expected_s > _SLOW_S:
            measured[size] = round(expected_s * 1e6, 1)
            continue
        batch = rows.take(np.resize(np.arange(len(rows)), size))
        measured[size] = round(_median_us(runtime, batch, budget_s / len(WEIGHTS)), 1)
        before = size
    return measured


def _median_us(runtime: Runtime, batch: Rows, budget_s: float) -> float:
    batch.ask(runtime)
    until = time.monotonic() + budget_s
    times: list[int] = []
    while len(times) < _AT_LEAST or (time.monotonic() < until and len(times) < 2_000):
        begin = time.perf_counter_ns()
        batch.ask(runtime)
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times)) / 1000


def ratio(graph: Speed, native: Speed) -> float:
    """How many times faster the graph is, by the rule; below 1 scikit-learn is ahead."""
    return math.exp(sum(weight * math.log(native[size] / graph[size]) for size, weight in WEIGHTS.items()))
