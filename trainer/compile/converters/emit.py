"""Shortens the writing of ONNX nodes: what our converters use instead of raw container calls.

Stands between skl2onnx, which walks the pipeline and owns names and types, and the converters
of this package, each of which adds the nodes of one fitted estimator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import numpy_helper
from onnx.helper import np_dtype_to_tensor_dtype
from skl2onnx.common.data_types import guess_proto_type
from skl2onnx.operator_converters.common import concatenate_variables

from trainer.compile import precision

ML = "ai.onnx.ml"
"""The operator domain of trees and encoders."""

LANES = 8
"""Numbers that the widest processor computes at once: float64 in 512 bits."""


class NotCompilable(Exception):
    """This fitted estimator has a feature that our graphs do not have; the message names it."""


class Emit:
    """Adds nodes for one operator of skl2onnx's topology.

    ``dtype`` is the type of all its arithmetic; ``ml_version`` the version of the domain ML
    that the graph is written in; ``masks`` says that many small trees are to be masks.
    """

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        self._scope, self._operator, self._container = scope, operator, container
        current = precision.CURRENT.get()
        self.dtype, self.masks = current.dtype, current.masks
        self.ml_version: int = container.target_opset_any_domain(ML)

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        name: str = self._scope.get_unique_variable_name(kind.lower())
        self._container.add_node(
            kind,
            list(inputs),
            [name],
            op_domain=domain,
            # skl2onnx refuses newer versions of this domain; the conversion sets the real one.
            op_version=1 if domain == ML else None,
            name=self._scope.get_unique_operator_name(kind),
            **attributes,
        )
        return name

    def constant(self, values: Any, dtype: Any = None) -> str:
        """Add an initializer; returns its name. Arithmetic's own type unless ``dtype`` says another."""
        name: str = self._scope.get_unique_variable_name("constant")
        array = np.asarray(values, dtype=dtype or self.dtype)
        tensor = numpy_helper.from_array(array, name)
        self._container.add_initializer(name, tensor.data_type, list(array.shape), tensor)
        return name

    def cast(self, name: str, dtype: Any) -> str:
        """Add a cast to a NumPy type."""
        return self.node("Cast", name, to=np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def input(self) -> str:
        """The operator's whole numeric input as one matrix of ``dtype``."""
        name = concatenate_variables(self._scope, self._operator.inputs, self._container)
        return self.cast(name, self.dtype)

    def output(self, place: int, name: str) -> None:
        """Let ``name`` be the operator's output number ``place``, in the type declared for it."""
        variable = self._operator.outputs[place]
        self._container.add_node(
            "Cast",
            [name],
            [variable.full_name],
            to=guess_proto_type(variable.type),
            name=self._scope.get_unique_operator_name("Cast"),
        )

    def label(self, winner: str, classes: Any) -> None:
        """Output 0: the class at each row's index in ``winner`` (int64, shape (rows,))."""
        self.output(0, self.node("Gather", self.constant(classes, np.int64), winner))

    def argmax(self, scores: str) -> str:
        """The index of each row's largest score, the first one on a tie, as NumPy's argmax."""
        return self.node("ArgMax", scores, axis=1, keepdims=0)

    def classify(self, scores: str, classes: Any) -> None:
        """Both outputs of a classifier whose label is the argmax of its probabilities."""
        self.label(self.argmax(scores), classes)
        self.output(1, scores)

    def padded(self, matrix: str, width: int, value: float) -> str:
        """The matrix with columns of ``value`` up to a multiple of LANES.

        onnxruntime computes exponentials several at a time and the left-over ones singly, with
        other last bits. With whole groups in every row, a row gets the same bits in any batch.
        """
        missing = -width % LANES
        pads = self.constant([0, 0, 0, missing], np.int64)
        return self.node("Pad", matrix, pads, self.constant(value)) if missing else matrix

    def columns(self, matrix: str, begin: int, end: int) -> str:
        """The columns from ``begin`` to before ``end``."""
        bounds = (self.constant([bound], np.int64) for bound in (begin, end, 1))
        return self.node("Slice", matrix, *bounds)

    def split(self, matrix: str, width: int) -> list[str]:
        """Each of its ``width`` columns as a matrix of one."""
        names: list[str] = [self._scope.get_unique_variable_name("column") for _ in range(width)]
        operator = self._scope.get_unique_operator_name("Split")
        self._container.add_node("Split", [matrix], names, name=operator, axis=1, num_outputs=width)
        return names

    def elementwise(self, kind: str, matrix: str, width: int) -> str:
        """Sigmoid, Exp, Tanh … of a matrix with ``width`` columns, the same bits in any batch."""
        return self.columns(self.node(kind, self.padded(matrix, width, 0.0)), 0, width)

    def row_sum(self, matrix: str, width: int) -> str:
        """The sum of each row of a matrix with ``width`` columns, as one column; the same bits in any batch."""
        axis = self.constant([1], np.int64)
        return self.node("ReduceSum", self.padded(matrix, width, 0.0), axis, keepdims=1)

    def softmax(self, scores: str, width: int) -> str:
        """Exponentials of each row, divided by their sum; the same bits in any batch."""
        whole = self.padded(scores, width, -np.inf)
        largest = self.node("ReduceMax", whole, self.constant([1], np.int64), keepdims=1)
        powers = self.node("Exp", self.node("Sub", whole, largest))
        total = self.node("ReduceSum", powers, self.constant([1], np.int64), keepdims=1)
        return self.columns(self.node("Div", powers, total), 0, width)

    def two_classes(self, second: str, is_second: str, classes: Any) -> None:
        """Both outputs of a two-class classifier.

        ``second``: one column with the second class's probability; ``is_second``: one column
        of truths, since each estimator has its own rule for a tie.
        """
        flat = self.node("Reshape", self.cast(is_second, np.int64), self.constant([-1], np.int64))
        self.label(flat, classes)
        self.output(1, self.node("Concat", self.node("Sub", self.constant(1), second), second, axis=1))
