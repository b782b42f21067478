"""Bounds what compiling may cost: time by an alarm, size by counting before anything is built."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_store.runtime import node_bounds
from trainer.compile.converters import tree_masks

_MIB = 1024 * 1024
_MANY_TREES = 16
"""Fewer are not worth a second conversion, even with one feature."""
_TREES = ("Tree", "TreePredictor")


@dataclass(frozen=True)
class Limits:
    """What one compilation may cost. A limit that is met means skops, never a failed training."""

    convert_s: float = 60.0
    """Seconds for one conversion; a typical one takes 0.1."""
    prove_s: float = 1.0
    """Seconds for the search of boundary rows, and again for the batches of each candidate."""
    measure_s: float = 0.3
    """Seconds of measuring per runtime, in thirds for the three batch sizes."""
    model_bytes: int = 256 * _MIB
    """Largest fitted model that is converted: a graph is built as Python objects of several times its size."""
    graph_bytes: int = 512 * _MIB
    """Largest graph that is published."""


class TooSlow(Exception):
    """The time for one step is over."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TooSlow in the block when it takes longer.

    Works in the main thread, where a training child runs its whole life; elsewhere there is
    no bound. A call into a library that holds on is interrupted when it returns.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(_signal: int, _frame: Any) -> None:
        raise TooSlow(f"took over {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def model_bytes(pipeline: Any) -> int:
    """Bytes of all arrays and trees below a fitted pipeline."""
    total = 0
    for thing, _ in node_bounds.walk(pipeline):
        if isinstance(thing, np.ndarray):
            total += thing.nbytes
        elif type(thing).__name__ == "Tree":
            total += thing.node_count * 64 + thing.value.nbytes
    return total


def has_small_trees(pipeline: Any) -> bool:
    """Whether it has many trees, all of them of eight leaves at most."""
    leaves = [_leaves(thing) for thing, _ in node_bounds.walk(pipeline) if type(thing).__name__ in _TREES]
    return len(leaves) >= _MANY_TREES and max(leaves) <= tree_masks.MOST_LEAVES


def _leaves(tree: Any) -> int:
    return int(tree.n_leaves if hasattr(tree, "n_leaves") else tree.nodes["is_leaf"].sum())


def has_shared_leaves(pipeline: Any) -> bool:
    """Whether a tree's leaf holds three classes or more."""
    return any(type(thing).__name__ == "Tree" and thing.value.shape[2] > 2 for thing, _ in node_bounds.walk(pipeline))
