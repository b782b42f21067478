"""Counters, gauges and histograms that cost little to count with; the library's in everything else.

Beneath ``telemetry``. A prediction counts a dozen times, and prometheus-client's way (checks, a lock
for each number, a walk over the buckets) was a sixth of a predictor's time. Here a count is one
addition to an attribute. No lock is needed: CPython changes threads between a call's or a loop's
instructions, never between reading an attribute, adding a float and storing the sum.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import Any

import prometheus_client


class _Number:
    """What the library keeps a value in, without its lock."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float, timestamp: float | None = None) -> None:
        self.value = value

    def get(self) -> float:
        return self.value

    def get_exemplar(self) -> None:
        """Examples of single requests are not kept."""


class Counter(prometheus_client.Counter):
    """A figure that only grows."""

    def _metric_init(self) -> None:
        self._value: Any = _Number()
        self._created = time.time()

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Add ``amount``, which must not be negative; one with labels is counted by its ``labels()``."""
        self._value.value += amount


class Gauge(prometheus_client.Gauge):
    """A figure that goes up and down."""

    def _metric_init(self) -> None:
        self._value: Any = _Number()

    def inc(self, amount: float = 1) -> None:
        """Add ``amount``."""
        self._value.value += amount

    def dec(self, amount: float = 1) -> None:
        """Take ``amount`` off."""
        self._value.value -= amount


class Histogram(prometheus_client.Histogram):
    """A distribution in fixed buckets."""

    def _metric_init(self) -> None:
        self._created = time.time()
        self._sum: Any = _Number()
        self._buckets: list[Any] = [_Number() for _ in self._upper_bounds]

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count ``amount`` in the first bucket whose bound it doesn't exceed."""
        self._buckets[bisect_left(self._upper_bounds, amount)].value += 1
        self._sum.value += amount
