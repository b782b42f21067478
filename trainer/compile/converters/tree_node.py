"""Writes many decision trees as one ONNX node: scikit-learn's arrays in, a TreeEnsemble out.

skl2onnx builds such nodes one tree node at a time in Python; here whole arrays are stacked,
which is 40 times faster and gives graphs of a third of the size. Two forms exist. The newer
(ai.onnx.ml 5) computes and answers in float64, but a leaf adds to one output only; the older
(up to ai.onnx.ml 4) lets a leaf add to every class, but answers in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from trainer.compile.converters.emit import ML, Emit

NEWER_FORM = 5
"""The version of ai.onnx.ml from which on the newer form is the only one."""

_SUM = 1


class Tree(NamedTuple):
    """One tree; a node's row in each array. ``left`` is negative at a leaf.

    ``weights`` has a row per node and a column per output the tree adds to.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    weights: NDArray[np.float64]


def sklearn_tree(tree: Any, weights: NDArray[np.float64], columns: Any = None) -> Tree:
    """The arrays of a ``sklearn.tree._tree.Tree`` with what its leaves add.

    ``columns``: which of the rows' columns are the tree's, None for all in order.
    """
    missing_left = tree.missing_go_to_left.astype(bool)
    feature = tree.feature if columns is None else np.asarray(columns)[tree.feature]
    return Tree(tree.children_left, tree.children_right, feature, tree.threshold, missing_left, weights)


def add(emit: Emit, rows: str, trees: Sequence[Tree], targets: Sequence[int], outputs: int) -> str:
    """Add the node; returns a matrix (rows, outputs) with the sum of what the leaves give.

    ``rows`` is a matrix of the emitter's type. Tree number i adds to output ``targets[i]``; a tree whose
    leaves have several weights adds to the outputs from there on. Thresholds keep their
    meaning in float32: rounded down, since a float32 x is <= t exactly when it is <= the
    largest float32 below t.
    """
    if emit.ml_version >= NEWER_FORM:
        if any(tree.weights.shape[1] > 1 for tree in trees):
            trees, targets = _one_tree_per_output(trees, targets)
        return emit.node("TreeEnsemble", rows, domain=ML, **_newer(trees, targets, outputs, emit.dtype))
    answer = emit.node("TreeEnsembleRegressor", rows, domain=ML, **_older(trees, targets, outputs, emit.dtype))
    return emit.cast(answer, emit.dtype)


def _one_tree_per_output(trees: Sequence[Tree], targets: Sequence[int]) -> tuple[list[Tree], list[int]]:
    pairs = [
        (tree._replace(weights=tree.weights[:, [column]]), target + column)
        for tree, target in zip(trees, targets, strict=True)
        for column in range(tree.weights.shape[1])
    ]
    return [tree for tree, _ in pairs], [target for _, target in pairs]


def _thresholds(values: NDArray[np.float64], dtype: Any) -> Any:
    if dtype is np.float64:
        return numpy_helper.from_array(values)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    above = rounded > values
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return numpy_helper.from_array(rounded)


def _newer(trees: Sequence[Tree], targets: Sequence[int], outputs: int, dtype: Any) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {name: [] for name in ("feature", "split", "to", "leaf", "missing", "weight", "id")}
    roots, nodes, leaves = [], 0, 0
    for tree, target in zip(trees, targets, strict=True):
        leaf = tree.left < 0
        inner = np.flatnonzero(~leaf)
        # Inner nodes and leaves are numbered apart, each over all trees.
        number = np.where(leaf, np.cumsum(leaf) - 1 + leaves, np.cumsum(~leaf) - 1 + nodes)
        children = np.stack([tree.left[inner], tree.right[inner]]) if len(inner) else np.zeros((2, 1), np.int64)
        columns["to"].append(number[children])
        columns["leaf"].append(leaf[children])
        # A tree of one leaf is a node both of whose branches are that leaf.
        columns["feature"].append(tree.feature[inner] if len(inner) else np.zeros(1, np.int64))
        columns["split"].append(tree.threshold[inner] if len(inner) else np.zeros(1))
        columns["missing"].append(tree.missing_left[inner] if len(inner) else np.zeros(1, np.bool_))
        columns["weight"].append(tree.weights[leaf, 0])
        columns["id"].append(np.full(int(leaf.sum()), target))
        roots.append(nodes)
        nodes, leaves = nodes + max(len(inner), 1), leaves + int(leaf.sum())
    joined = {name: np.concatenate(parts, axis=-1) for name, parts in columns.items()}
    return {"n_targets": outputs, "tree_roots": roots, **_newer_attributes(joined, dtype)}


def _newer_attributes(joined: dict[str, NDArray[Any]], dtype: Any) -> dict[str, Any]:
    return {
        "aggregate_function": _SUM,
        "post_transform": 0,
        "nodes_featureids": joined["feature"].tolist(),
        "nodes_splits": _thresholds(joined["split"], dtype),
        "nodes_modes": numpy_helper.from_array(np.zeros(len(joined["split"]), np.uint8)),
        "nodes_truenodeids": joined["to"][0].tolist(),
        "nodes_falsenodeids": joined["to"][1].tolist(),
        "nodes_trueleafs": joined["leaf"][0].astype(int).tolist(),
        "nodes_falseleafs": joined["leaf"][1].astype(int).tolist(),
        "nodes_missing_value_tracks_true": joined["missing"].astype(int).tolist(),
        "leaf_targetids": joined["id"].tolist(),
        "leaf_weights": numpy_helper.from_array(joined["weight"].astype(dtype)),
    }


def _older(trees: Sequence[Tree], targets: Sequence[int], outputs: int, dtype: Any) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {
        name: [] for name in ("tree", "node", "leaf", "at_tree", "at_node", "id", "weight")
    }
    for place, (tree, target) in enumerate(zip(trees, targets, strict=True)):
        leaf, width = tree.left < 0, tree.weights.shape[1]
        leaves = np.flatnonzero(leaf)
        columns["tree"].append(np.full(len(leaf), place))
        columns["node"].append(np.arange(len(leaf)))
        columns["leaf"].append(leaf)
        columns["at_tree"].append(np.full(len(leaves) * width, place))
        columns["at_node"].append(np.repeat(leaves, width))
        columns["id"].append(np.tile(np.arange(target, target + width), len(leaves)))
        columns["weight"].append(tree.weights[leaves].ravel())
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    leaf = joined["leaf"]
    inner = {
        name: np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in trees]))
        for name in ("left", "right", "feature", "threshold", "missing_left")
    }
    return {"n_targets": outputs, **_older_attributes(joined, inner, dtype)}


def _older_attributes(joined: dict[str, NDArray[Any]], inner: dict[str, NDArray[Any]], dtype: Any) -> dict[str, Any]:
    return {
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_treeids": joined["tree"].tolist(),
        "nodes_nodeids": joined["node"].tolist(),
        "nodes_featureids": inner["feature"].tolist(),
        "nodes_modes": np.array([b"BRANCH_LEQ", b"LEAF"], dtype=object)[joined["leaf"].astype(int)].tolist(),
        "nodes_values_as_tensor": _thresholds(inner["threshold"], dtype),
        "nodes_truenodeids": inner["left"].tolist(),
        "nodes_falsenodeids": inner["right"].tolist(),
        "nodes_missing_value_tracks_true": inner["missing_left"].astype(int).tolist(),
        "target_treeids": joined["at_tree"].tolist(),
        "target_nodeids": joined["at_node"].tolist(),
        "target_ids": joined["id"].tolist(),
        "target_weights_as_tensor": numpy_helper.from_array(joined["weight"].astype(dtype)),
    }
