"""Turns a fitted pipeline into the bytes of an ONNX graph, in one of three precisions.

First step of compiling: what comes out is not trusted until ``proof`` has compared it with the
pipeline. The graph's inputs and outputs have the names and types of model_store.runtime.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

from trainer.compile.converters import ML, PRECISION, register

OPSET = 18
"""Version of the main operator domain: all that our graphs need, known to every onnxruntime since 1.14."""

_OLDER_TREES, _NEWER_TREES = 4, 5


class Precision(NamedTuple):
    """One way to write a graph: its arithmetic, and the version of the domain that has trees.

    In version 5 trees answer in float64, in version 4 in float32, but with several classes per
    leaf; both compare in ``dtype``.
    """

    name: str
    dtype: type[np.floating[Any]]
    ml_version: int


EXACT = Precision("float64", np.float64, _NEWER_TREES)
"""Everything in float64: differs from scikit-learn by rounding of the last bit at most."""

SHARED_LEAVES = Precision("float64, trees summed in float32", np.float64, _OLDER_TREES)
"""As EXACT, but a leaf holds all classes: with many classes a fraction of EXACT's trees."""

SINGLE = Precision("float32", np.float32, _OLDER_TREES)
"""Everything in float32: for operators that onnxruntime has in nothing else."""


def graph(pipeline: Any, precision: Precision, numbers: int, texts: int, probabilities: bool) -> bytes:
    """Convert. ``numbers`` and ``texts`` count the columns; ``probabilities``: the estimator has them.

    Raises whatever the converters raise; a caller takes any exception as "does not compile".
    """
    register()
    number_type = DoubleTensorType if precision.dtype is np.float64 else FloatTensorType
    inputs = [("numbers", number_type([None, numbers]))] if numbers else []
    inputs += [("texts", StringTensorType([None, texts]))] if texts else []
    token = PRECISION.set(precision.dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about deprecations between the libraries, not about the model
            model = convert_sklearn(
                pipeline,
                initial_types=inputs,
                options={"zipmap": False} if hasattr(pipeline, "classes_") else None,
                target_opset={"": OPSET, ML: precision.ml_version},
            )
    finally:
        PRECISION.reset(token)
    for used in model.opset_import:
        if used.domain == ML:
            used.version = precision.ml_version
    names = ["label", "probabilities"] if hasattr(pipeline, "classes_") else ["value"]
    _name_outputs(model.graph, names if probabilities else names[:1])
    data: bytes = model.SerializeToString()
    return data


def _name_outputs(model_graph: onnx.GraphProto, names: list[str]) -> None:
    """Keep the first outputs under our names; drop the others."""
    renamed = {output.name: name for output, name in zip(model_graph.output, names, strict=False)}
    taken = {name: f"{name}_of_a_step" for name in names if name not in renamed}
    renamed = {**taken, **renamed}
    for node in model_graph.node:
        for fields in (node.input, node.output):
            for place, field in enumerate(fields):
                fields[place] = renamed.get(field, field)
    kept = list(model_graph.output)[: len(names)]
    del model_graph.output[:]
    for output, name in zip(kept, names, strict=True):
        output.name = name
        model_graph.output.append(output)
