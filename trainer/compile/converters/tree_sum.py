"""Writes the sum of an ensemble's trees: as masks where the graph may have them and they suit, else as one node."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.compile.converters import tree_masks, tree_node
from trainer.compile.converters.emit import Emit


def add(emit: Emit, rows: str, trees: Sequence[tree_node.Tree], targets: Sequence[int], outputs: int) -> str:
    """Add what gives a matrix (rows, outputs); the arguments are those of ``tree_node.add``."""
    add_to = tree_masks.add if emit.masks and tree_masks.suits(trees) else tree_node.add
    return add_to(emit, rows, trees, targets, outputs)
