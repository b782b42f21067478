"""What any loaded version answers, whatever computes it: typed arrays in, class indices or values out.

Stands between the predictor's decoded rows and the two runtimes (``onnx_graph``, ``skops_file``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_store import errors

Numbers = NDArray[np.float64]
"""Rows of number-like columns, float64 of shape (rows, columns), NaN where a cell is missing."""

Texts = NDArray[Any]
"""Rows of text columns, objects (str) of shape (rows, columns), ``""`` where a cell is missing."""


PART_ROWS: Final = 1_000
"""Rows of one call of a graph: up to there publishing has tried, on a sample of sizes (next to powers of two, the
largest, others while time lasts; ``batch_sizes`` in the manifest), that a row's answer is the same in a batch."""


class CannotPredict(errors.StoreError):
    """The model computes no answer for these rows: a number in them is too large for it."""


class Output(NamedTuple):
    """One answer per row.

    ``labels``: int64 class indices (classification) or float64 values (regression), shape
    (rows,). ``probabilities``: float64 of shape (rows, classes), None for a regression, when
    not asked for, or when the estimator has none.
    """

    labels: NDArray[Any]
    probabilities: NDArray[np.float64] | None


class Runtime(ABC):
    """A version in memory, ready to predict. Safe to call from several threads at once.

    ``size_bytes`` is the size of the artefact's served file: what a memory bound is reckoned from.
    """

    kind: ClassVar[Literal["onnx", "skops"]]
    size_bytes: int

    @abstractmethod
    def predict(self, numbers: Numbers, texts: Texts, probabilities: bool = False) -> Output:
        """Answer every row of the two arrays, which have the same number of rows.

        Raises CannotPredict.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the model's memory. A predict that has begun is completed."""
