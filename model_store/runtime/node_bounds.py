"""Checks the indices inside trees that came from a file, because scikit-learn follows them unchecked.

A tree is arrays of child and feature numbers; one that points outside reads foreign memory or
ends the process, one that points back never ends. Every type check passes such a file, so the
numbers are checked once, right after a skops file was loaded. Children always come after
their parent in scikit-learn's own arrays, which rules out both at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from model_store import errors


def walk(pipeline: Any) -> Iterator[tuple[Any, int]]:
    """Every object below a fitted pipeline, with the number of columns its owner takes."""
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(pipeline, getattr(pipeline, "n_features_in_", 0))]
    while waiting:
        thing, width = waiting.pop()
        if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type, type(None))):
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            waiting.extend((value, width) for value in thing.values())
        elif isinstance(thing, (list, tuple)):
            waiting.extend((value, width) for value in thing)
        elif isinstance(thing, np.ndarray) and thing.dtype.hasobject:
            waiting.extend((value, width) for value in thing.flat)
        else:
            yield thing, width
            state = getattr(thing, "__dict__", None) or {}
            width = state.get("n_features_in_", width)
            waiting.extend((value, width) for value in state.values())


def check(pipeline: Any) -> None:
    """Look at all trees below a loaded pipeline. Raises errors.Corrupt."""
    for thing, width in walk(pipeline):
        _check_object(thing, width)


def _check_object(thing: Any, width: int) -> None:
    kind = type(thing).__name__
    if kind == "Tree":
        nodes = thing.__getstate__()["nodes"]
        leaf = nodes["left_child"] == -1
        _check_nodes(nodes["left_child"], nodes["right_child"], nodes["feature"], leaf, width)
    elif kind == "TreePredictor":
        nodes = thing.nodes
        # Our tables have encoded categories, so none of our trees splits by one; it would name a bit set elsewhere.
        if np.any(nodes["is_categorical"]):
            raise errors.Corrupt("a tree in the skops file splits by categories")
        _check_nodes(nodes["left"], nodes["right"], nodes["feature_idx"], nodes["is_leaf"].astype(bool), width)
    elif kind.startswith("GradientBoosting"):
        # It hands its rows to its trees without asking how wide these think they are.
        if any(tree.n_features_in_ != thing.n_features_in_ for tree in np.ravel(thing.estimators_)):
            raise errors.Corrupt("a tree in the skops file asks for a column that is not there")
    elif kind.startswith("HistGradientBoosting"):
        # Only for categories, which our tables have encoded; it could make rows narrower than was checked.
        if getattr(thing, "_preprocessor", None) is not None:
            raise errors.Corrupt("a tree in the skops file splits by categories")
    elif kind in ("KDTree", "BallTree"):
        data, order, nodes, _ = thing.get_arrays()
        begin, end = nodes["idx_start"], nodes["idx_end"]
        inside = np.all((order >= 0) & (order < len(data))) and np.all((begin >= 0) & (begin <= end))
        if not inside or np.any(end > len(order)):
            raise errors.Corrupt("a tree in the skops file points outside of itself")


def _check_nodes(left: Any, right: Any, feature: Any, leaf: Any, width: int) -> None:
    place = np.arange(len(left))
    inner = ~leaf
    for child in (left, right):
        if np.any(child[inner].astype(np.int64) <= place[inner]) or np.any(child[inner].astype(np.int64) >= len(left)):
            raise errors.Corrupt("a tree in the skops file points outside of itself")
    if np.any((feature[inner] < 0) | (feature[inner] >= width)):
        raise errors.Corrupt("a tree in the skops file asks for a column that is not there")
