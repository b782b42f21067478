"""Small ONNX graphs and fitted pipelines for the tests of the runtimes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model_store.manifest import FileEntry
from model_store.reading import Artefact
from tests.unit.model_store.disturbing import manifest_of

NO_TEXTS = np.empty((0, 0), dtype=object)


def no_texts(count: int) -> Any:
    return np.empty((count, 0), dtype=object)


def model(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], initializers: list[Any] | None = None, **more: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializer=initializers or [])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, **more)


def tensor(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def sum_model(kind: int = TensorProto.DOUBLE, columns: int = 2) -> onnx.ModelProto:
    """A regression: the sum of the columns."""
    dtype = np.float64 if kind == TensorProto.DOUBLE else np.float32
    return model(
        [helper.make_node("MatMul", ["numbers", "ones"], ["value"])],
        [tensor("numbers", kind, [None, columns])],
        [tensor("value", kind, [None, 1])],
        [numpy_helper.from_array(np.ones((columns, 1), dtype), "ones")],
    )


def larger_column_model() -> onnx.ModelProto:
    """A classification: which of two columns is the larger, and the columns as its probabilities."""
    return model(
        [
            helper.make_node("ArgMax", ["numbers"], ["label"], axis=1, keepdims=0),
            helper.make_node("Identity", ["numbers"], ["probabilities"]),
        ],
        [tensor("numbers", TensorProto.DOUBLE, [None, 2])],
        [tensor("label", TensorProto.INT64, [None]), tensor("probabilities", TensorProto.DOUBLE, [None, 2])],
    )


def word_model() -> onnx.ModelProto:
    """A classification of texts alone, without probabilities: 1 for "yes"."""
    encode = helper.make_node(
        "LabelEncoder",
        ["texts"],
        ["found"],
        domain="ai.onnx.ml",
        keys_strings=["yes"],
        values_int64s=[1],
        default_int64=0,
    )
    shape = numpy_helper.from_array(np.array([-1]), "shape")
    return model(
        [encode, helper.make_node("Reshape", ["found", "shape"], ["label"])],
        [tensor("texts", TensorProto.STRING, [None, 1])],
        [tensor("label", TensorProto.INT64, [None])],
        [shape],
    )


def artefact(runtime: str, **files: bytes) -> Artefact:
    """A verified version in memory, as reading gives it."""
    named = {name.replace("_", "."): data for name, data in files.items()}
    entries = {name: FileEntry(len(data), "0" * 64) for name, data in named.items()}
    return Artefact(manifest_of(runtime=runtime, files=entries), named)
