"""Turns a fitted pipeline into the bytes of an ONNX graph, in one of four ways (``precision``).

First step of compiling: what comes out is not trusted until ``proof`` has compared it with the
pipeline. The graph's inputs and outputs have the names and types of model_store.runtime.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

from trainer.compile.converters import ML, NotCompilable, register, tree_masks
from trainer.compile.precision import CURRENT, EXACT, SHARED_LEAVES, SINGLE, SMALL_TREES, Precision

__all__ = ["EXACT", "SHARED_LEAVES", "SINGLE", "SMALL_TREES", "Precision", "graph"]

OPSET = 18
"""Version of the main operator domain: all that our graphs need, known to every onnxruntime since 1.14."""


def graph(pipeline: Any, precision: Precision, numbers: int, texts: int, probabilities: bool) -> bytes:
    """Convert. ``numbers`` and ``texts`` count the columns; ``probabilities``: the estimator has them.

    Raises whatever the converters raise; a caller takes any exception as "does not compile".
    """
    register()
    number_type = DoubleTensorType if precision.dtype is np.float64 else FloatTensorType
    inputs = [("numbers", number_type([None, numbers]))] if numbers else []
    inputs += [("texts", StringTensorType([None, texts]))] if texts else []
    token = CURRENT.set(precision)
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
        CURRENT.reset(token)
    if precision.masks and not tree_masks.used_in(model.graph):
        raise NotCompilable("no ensemble whose trees are many and small")
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
