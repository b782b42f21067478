"""In which ways a graph may be written: its arithmetic, and its form of trees.

Between ``convert``, which sets the way, and the converters, which follow it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

_OLDER_TREES, _NEWER_TREES = 4, 5


class Precision(NamedTuple):
    """One way to write a graph: its arithmetic, and the version of the domain that has trees.

    In version 5 trees answer in float64, in version 4 in float32, but with several classes per
    leaf; both compare in ``dtype``. ``masks``: many small trees are written as bit masks.
    """

    name: str
    dtype: type[np.floating[Any]]
    ml_version: int
    masks: bool = False


EXACT = Precision("float64", np.float64, _NEWER_TREES)
"""Everything in float64: differs from scikit-learn by rounding of the last bit at most."""

SMALL_TREES = Precision("float64, small trees as masks", np.float64, _NEWER_TREES, masks=True)
"""As EXACT, and 200 trees of eight leaves answer 100 rows and more in less than half of the time."""

SHARED_LEAVES = Precision("float64, trees summed in float32", np.float64, _OLDER_TREES)
"""As EXACT, but a leaf holds all classes: with many classes a fraction of EXACT's trees."""

SINGLE = Precision("float32", np.float32, _OLDER_TREES)
"""Everything in float32: for operators that onnxruntime has in nothing else."""

CURRENT: ContextVar[Precision] = ContextVar("precision", default=EXACT)
"""How the graph that is being written is to be; the conversion sets it."""
