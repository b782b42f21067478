"""Writes many small trees as bit masks: what stands in for a TreeEnsemble where that is faster.

A tree of at most eight leaves is a byte, one bit for each leaf from left to right. A row clears, for every node
whose right branch it takes, the bits of the leaves on the left; the lowest bit that is left is the leaf it
reaches (Lucchese et al., QuickScorer, SIGIR 2015, section 3). What one feature clears in all trees depends only
on between which two thresholds its value lies, so that is a row of a table; the rows of all features are anded,
eight trees in a word, and a second table has what each tree gives for each byte. Only finding the places branches on
the data, a few times per feature instead of at every node of every tree: that is what costs a TreeEnsemble its time.
The sums are in the order of the trees, so batches change no bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.compile.converters import tree_node
from trainer.compile.converters.emit import Emit
from trainer.compile.converters.tree_node import Tree

MOST_LEAVES = 8
"""Leaves of a tree that fit its byte."""
_BYTES = 256
_TREES_PER_FEATURE = 12
"""To find a feature's place costs as much as some trees of a TreeEnsemble; from here on 16 rows cost less as masks."""
_MOST_FEATURES = 32
"""Each costs a lone row three operators; with more, lone rows would pay what batches gain."""
_MOST_TABLE_BYTES = 8 * 1024 * 1024
"""Larger tables don't stay in a processor's cache."""

_Mask = NDArray[np.uint8]


def suits(trees: Sequence[Tree]) -> bool:
    """Whether these trees are small and many enough for their features."""
    if any(np.sum(tree.left < 0) > MOST_LEAVES or tree.weights.shape[1] > 1 for tree in trees):
        return False
    features = _features(trees)
    if not 0 < len(features) <= _MOST_FEATURES or len(trees) < _TREES_PER_FEATURE * len(features):
        return False
    return sum(len(tree.left) for tree in trees) // 2 * len(trees) <= _MOST_TABLE_BYTES


def used_in(graph: Any) -> bool:
    """Whether a graph has trees in this form; nothing else of ours shifts bits."""
    return any(node.op_type == "BitShift" for node in graph.node)


def add(emit: Emit, rows: str, trees: Sequence[Tree], targets: Sequence[int], outputs: int) -> str:
    """Add the nodes; returns a matrix (rows, outputs) with the sum of what the leaves give, as ``tree_node.add``."""
    order = np.argsort(targets, kind="stable")
    trees = [trees[place] for place in order]
    missing = -len(trees) % 8
    cleared, given = _tables(trees, len(trees) + missing)
    place = emit.cast(_places(emit, rows, cleared), np.int32)
    table = emit.constant(_words(np.concatenate([masks for _, _, masks in cleared])), np.uint64)
    words = ""
    for column in emit.split(place, len(cleared)):
        one = emit.node("Gather", table, column, axis=0)
        words = emit.node("BitwiseAnd", words, one) if words else one
    values = emit.node("GatherElements", emit.constant(given), _bytes(emit, words, len(given)), axis=1)
    return _summed(emit, values, np.bincount(np.asarray(targets), minlength=outputs))


def _features(trees: Sequence[Tree]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([tree.feature[tree.left >= 0] for tree in trees]))


def _tables(
    trees: Sequence[Tree], width: int
) -> tuple[list[tuple[int, NDArray[np.float64], _Mask]], NDArray[np.float64]]:
    """For each feature its number, thresholds and masks; and what each tree gives for each byte.

    A feature's masks have a row for each place between its thresholds and a last one for a missing value.
    """
    features = _features(trees)
    nodes = [(tree, number, *_walk(tree)) for number, tree in enumerate(trees)]
    cleared = []
    for feature in features:
        thresholds = np.unique(np.concatenate([tree.threshold[_of(tree, feature)] for tree in trees]))
        masks = np.full((len(thresholds) + 2, width), _BYTES - 1, np.uint8)
        for tree, number, left_leaves, _ in nodes:
            for node in np.flatnonzero(_of(tree, feature)).tolist():
                kept = np.uint8(_BYTES - 1 - left_leaves[node])
                masks[np.searchsorted(thresholds, tree.threshold[node]) + 1 : -1, number] &= kept
                if not tree.missing_left[node]:
                    masks[-1, number] &= kept
        cleared.append((int(feature), thresholds, masks))
    given = np.zeros((width, _BYTES))
    lowest = [0, *((byte & -byte).bit_length() - 1 for byte in range(1, _BYTES))]
    for tree, number, _, leaves in nodes:
        padded = [*leaves, *leaves[-1:] * (MOST_LEAVES - len(leaves))]
        given[number] = tree.weights[padded, 0][lowest]
    return cleared, given


def _of(tree: Tree, feature: int) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (tree.left >= 0) & (tree.feature == feature)
    return found


def _walk(tree: Tree) -> tuple[dict[int, int], list[int]]:
    """The mask of the leaves on each inner node's left, and the leaves from left to right."""
    left_leaves: dict[int, int] = {}
    leaves: list[int] = []

    def below(node: int) -> int:
        if tree.left[node] < 0:
            leaves.append(node)
            return 1 << (len(leaves) - 1)
        left_leaves[node] = below(int(tree.left[node]))
        return left_leaves[node] | below(int(tree.right[node]))

    below(0)
    return left_leaves, leaves


def _places(emit: Emit, rows: str, cleared: Sequence[tuple[int, NDArray[np.float64], _Mask]]) -> str:
    """The row of the table for each feature of each row: found by a tree, as there is no search in ONNX."""
    finders, first = [], 0
    for feature, thresholds, masks in cleared:
        finders.append(_finder(feature, thresholds, first))
        first += len(masks)
    return tree_node.add(emit, rows, finders, range(len(finders)), len(finders))


def _finder(feature: int, thresholds: NDArray[np.float64], first: int) -> Tree:
    """A balanced tree that gives ``first`` plus the number of thresholds below a value, or one more for a missing one.

    At its root everything but a missing value is on the left.
    """
    left, right, split, weight = [1], [-1], [np.inf], [0.0]

    def grow(low: int, high: int) -> int:
        node, middle = len(left), (low + high) // 2
        leaf = low == high
        left.append(-1)
        right.append(-1)
        split.append(0.0 if leaf else thresholds[middle])
        weight.append(float(first + low) if leaf else 0.0)
        if not leaf:
            left[node], right[node] = grow(low, middle), grow(middle + 1, high)
        return node

    grow(0, len(thresholds))
    right[0] = len(left)
    left.append(-1)
    right.append(-1)
    split.append(0.0)
    weight.append(float(first + len(thresholds) + 1))
    count = len(left)
    return Tree(
        np.array(left),
        np.array(right),
        np.full(count, feature),
        np.array(split),
        np.zeros(count, bool),
        np.array(weight)[:, None],
    )


def _words(masks: _Mask) -> NDArray[np.uint64]:
    """Eight trees in a word, the first one in its lowest byte."""
    shifts = np.arange(0, 64, 8, dtype=np.uint64)
    words: NDArray[np.uint64] = np.bitwise_or.reduce(
        masks.reshape(len(masks), -1, 8).astype(np.uint64) << shifts, axis=2
    )
    return words


def _bytes(emit: Emit, words: str, trees: int) -> str:
    """Words (rows, 1, trees / 8) as a matrix of bytes (trees, rows) that can be an index."""
    upright = emit.node("Transpose", words, perm=[2, 1, 0])
    shifts = emit.constant(np.arange(0, 64, 8)[None, :, None], np.uint64)
    shifted = emit.cast(emit.node("BitShift", upright, shifts, direction="RIGHT"), np.uint8)
    return emit.node("Reshape", emit.cast(shifted, np.int32), emit.constant([trees, -1], np.int64))


def _summed(emit: Emit, values: str, counts: NDArray[np.int64]) -> str:
    """The sums of each output's trees: values (trees, rows) to (rows, outputs)."""
    sums, begin, axis = [], 0, emit.constant([0], np.int64)
    for count in counts.tolist():
        bounds = (emit.constant([bound], np.int64) for bound in (begin, begin + count))
        own = emit.node("Slice", values, *bounds, axis) if len(counts) > 1 else values
        sums.append(emit.node("ReduceSum", own, axis, keepdims=1))
        begin += count
    together = emit.node("Concat", *sums, axis=0) if len(sums) > 1 else sums[0]
    return emit.node("Transpose", together, perm=[1, 0])
