"""Tables and shortcuts for the tests of compiling."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline

from model_store.runtime import features
from model_store.runtime.onnx_graph import OnnxRuntime
from model_store.runtime.outputs import Output, Runtime
from model_store.runtime.skops_file import PipelineRuntime
from trainer.compile import Limits, convert, proof
from trainer.compile.edge_rows import Rows

QUICK = Limits(prove_s=0.3, measure_s=0.03)
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(300, 4)) * np.array([1.0, 10.0, 0.1, 1000.0])
HOLES = np.where(RANDOM.random(NUMBERS.shape) < 0.1, np.nan, NUMBERS)
VALUES = NUMBERS @ np.array([1.0, -0.2, 5.0, 0.003]) + 20.0 + RANDOM.normal(size=300)
TWO = np.digitize(VALUES, [np.median(VALUES)])
THREE = np.digitize(VALUES, np.quantile(VALUES, [0.3, 0.6]))
TEXTS = np.stack(
    [
        np.array(["red", "green", "blue", ""], dtype=object)[RANDOM.integers(0, 4, 300)],
        np.array([f"town {place}" for place in RANDOM.integers(0, 40, 300)], dtype=object),
    ],
    axis=1,
)
NO_TEXTS = np.empty((300, 0), dtype=object)


def rows_of(numbers: NDArray[Any] = NUMBERS, texts: NDArray[Any] = NO_TEXTS) -> Rows:
    return Rows(numbers, texts)


def fit(pipeline: Any, target: NDArray[Any], rows: Rows) -> Any:
    names = [f"number {place}" for place in range(rows.numbers.shape[1])]
    names += [f"text {place}" for place in range(rows.texts.shape[1])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline.fit(features.build(rows.numbers, rows.texts, names), target)


def proven(*steps: Any, target: NDArray[Any], rows: Rows, precision: convert.Precision = convert.EXACT) -> Any:
    """Fit, convert, and hold the graph against the pipeline by the rule; gives what the proof measured."""
    pipeline = fit(make_pipeline(*steps), target, rows)
    native = PipelineRuntime(pipeline, 0)
    expected = proof.reference(
        native, rows.take(slice(200)), 0.0 if target.dtype.kind == "i" else float(target.std()), 0.3
    )
    has_probabilities = expected.output.probabilities is not None
    graph = OnnxRuntime(
        convert.graph(pipeline, precision, rows.numbers.shape[1], rows.texts.shape[1], has_probabilities)
    )
    measured = proof.compare(graph, expected)
    proof.batches(graph, expected.rows, 0.1)
    return measured


class Twisted(Runtime):
    """A runtime that answers as another one, but for what ``twist`` does to the answer."""

    kind = "onnx"

    def __init__(self, inner: Runtime, twist: Any) -> None:
        self.size_bytes = inner.size_bytes
        self._inner, self._twist = inner, twist

    def predict(self, numbers: Any, texts: Any, probabilities: bool = False) -> Output:
        twisted: Output = self._twist(self._inner.predict(numbers, texts, probabilities))
        return twisted

    def close(self) -> None:
        self._inner.close()
