"""Converters for neural networks and kernel machines: sums of sums, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.compile.converters.emit import LANES, Emit, NotCompilable

_ACTIVATIONS = {"identity": "", "relu": "Relu", "logistic": "Sigmoid", "tanh": "Tanh"}


def _network(emit: Emit, model: Any) -> tuple[str, int]:
    """The last layer before its own activation, and its width."""
    rows = emit.input()
    for place, (weights, constants) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        rows = emit.node("Add", emit.node("MatMul", rows, emit.constant(weights)), emit.constant(constants[None, :]))
        kind = _ACTIVATIONS[model.activation]
        if kind and place < len(model.coefs_) - 1:
            rows = emit.elementwise(kind, rows, len(constants))
    return rows, len(model.intercepts_[-1])


def network_regressor(scope: Any, operator: Any, container: Any) -> None:
    """MLPRegressor with one output."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    raw, width = _network(emit, model)
    if width != 1 or model.out_activation_ not in ("identity", "exp"):
        raise NotCompilable("several outputs or another last activation")
    emit.output(0, raw if model.out_activation_ == "identity" else emit.elementwise("Exp", raw, 1))


def network_classifier(scope: Any, operator: Any, container: Any) -> None:
    """MLPClassifier; with two classes the second wins above one half."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    raw, width = _network(emit, model)
    if model.out_activation_ == "softmax":
        emit.classify(emit.softmax(raw, width), model.classes_)
    else:
        second = emit.elementwise("Sigmoid", raw, 1)
        emit.two_classes(second, emit.node("Greater", second, emit.constant(0.5)), model.classes_)


def _similar(emit: Emit, model: Any, vectors: NDArray[np.float64], gamma: float) -> str:
    """The kernel of every row with every vector; ``vectors`` are as many as whole LANES."""
    rows = emit.input()
    product = emit.node("MatMul", rows, emit.constant(np.ascontiguousarray(vectors.T)))
    if model.kernel == "linear":
        return product
    if model.kernel == "rbf":
        squares = emit.row_sum(emit.node("Mul", rows, rows), vectors.shape[1])
        lengths = emit.constant(np.sum(vectors**2, axis=1)[None, :])
        apart = emit.node("Sub", emit.node("Add", squares, lengths), emit.node("Mul", product, emit.constant(2)))
        return emit.node("Exp", emit.node("Mul", emit.node("Max", apart, emit.constant(0)), emit.constant(-gamma)))
    moved = emit.node("Add", emit.node("Mul", product, emit.constant(gamma)), emit.constant(model.coef0))
    if model.kernel == "sigmoid":
        return emit.node("Tanh", moved)
    raise NotCompilable(f"the kernel {model.kernel}")


def _kernel_sum(emit: Emit, model: Any, vectors: Any, weights: Any, gamma: float, constant: float) -> None:
    missing = -len(vectors) % LANES
    vectors = np.pad(vectors, ((0, missing), (0, 0)))
    weights = np.pad(np.ravel(weights), (0, missing))
    product = emit.node("MatMul", _similar(emit, model, vectors, gamma), emit.constant(weights[:, None]))
    emit.output(0, emit.node("Add", product, emit.constant(constant)))


def support_vector_regressor(scope: Any, operator: Any, container: Any) -> None:
    """SVR and NuSVR: the kernel with every support vector, weighted."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    _kernel_sum(emit, model, model.support_vectors_, model.dual_coef_, model._gamma, float(model.intercept_[0]))


def kernel_ridge(scope: Any, operator: Any, container: Any) -> None:
    """KernelRidge: the kernel with every training row, weighted."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    gamma = 1.0 / model.n_features_in_ if model.gamma is None else model.gamma
    _kernel_sum(emit, model, model.X_fit_, model.dual_coef_, gamma, 0.0)
