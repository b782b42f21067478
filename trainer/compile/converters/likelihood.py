"""Converters for classifiers that compare a likelihood per class: naive Bayes, quadratic discriminants, constants.

Written as scikit-learn computes them: skl2onnx's forms of these are in float32 or lose digits
far outside the training range, where another class then wins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.compile.converters.emit import Emit, NotCompilable


def _weighted(emit: Emit, rows: str, weights: NDArray[Any], constants: NDArray[Any]) -> str:
    product = emit.node("MatMul", rows, emit.constant(np.ascontiguousarray(weights.T)))
    return emit.node("Add", product, emit.constant(constants[None, :]))


def _decide(emit: Emit, scores: str, classes: Any) -> None:
    """The class of the largest score, and the scores' softmax."""
    emit.label(emit.argmax(scores), classes)
    emit.output(1, emit.softmax(scores, len(classes)))


def discrete_bayes(scope: Any, operator: Any, container: Any) -> None:
    """MultinomialNB, ComplementNB and BernoulliNB: a weighted sum of the columns per class."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    weights, rows = model.feature_log_prob_, emit.input()
    constants = np.zeros(len(weights)) if type(model).__name__ == "ComplementNB" else model.class_log_prior_
    if type(model).__name__ == "BernoulliNB":
        if model.binarize is not None:
            rows = emit.cast(emit.node("Greater", rows, emit.constant(model.binarize)), emit.dtype)
        absent = np.log(1 - np.exp(weights))
        weights, constants = weights - absent, constants + absent.sum(axis=1)
    _decide(emit, _weighted(emit, rows, weights, constants), model.classes_)


def categorical_bayes(scope: Any, operator: Any, container: Any) -> None:
    """CategoricalNB on columns that are 0 or 1: what a 1 adds to what a 0 gives."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    if any(table.shape[1] != 2 for table in model.feature_log_prob_):
        raise NotCompilable("columns of more than two categories")
    absent = np.stack([table[:, 0] for table in model.feature_log_prob_], axis=1)
    present = np.stack([table[:, 1] for table in model.feature_log_prob_], axis=1)
    constants = model.class_log_prior_ + absent.sum(axis=1)
    _decide(emit, _weighted(emit, emit.input(), present - absent, constants), model.classes_)


def gaussian_bayes(scope: Any, operator: Any, container: Any) -> None:
    """GaussianNB: squared distances to each class's mean, in units of its variance."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    rows, axis = emit.input(), emit.constant([1], np.int64)
    parts = []
    for place in range(len(model.classes_)):
        off = emit.node("Sub", rows, emit.constant(model.theta_[place][None, :]))
        share = emit.node("Div", emit.node("Mul", off, off), emit.constant(model.var_[place][None, :]))
        whole = emit.padded(share, model.n_features_in_, 0.0)
        total = emit.node("ReduceSum", whole, axis, keepdims=1)
        constant = np.log(model.class_prior_[place]) - 0.5 * np.sum(np.log(2 * np.pi * model.var_[place]))
        parts.append(emit.node("Add", emit.node("Mul", total, emit.constant(-0.5)), emit.constant(constant)))
    _decide(emit, emit.node("Concat", *parts, axis=1), model.classes_)


def quadratic_discriminant(scope: Any, operator: Any, container: Any) -> None:
    """QuadraticDiscriminantAnalysis: squared lengths in each class's own rotated and scaled axes."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    rows, axis = emit.input(), emit.constant([1], np.int64)
    parts = []
    for rotation, scaling, mean, prior in zip(
        model.rotations_, model.scalings_, model.means_, model.priors_, strict=True
    ):
        axes = rotation * scaling**-0.5
        turned = emit.node("MatMul", emit.node("Sub", rows, emit.constant(mean[None, :])), emit.constant(axes))
        whole = emit.padded(emit.node("Mul", turned, turned), axes.shape[1], 0.0)
        total = emit.node("ReduceSum", whole, axis, keepdims=1)
        grown = emit.node("Add", total, emit.constant(np.sum(np.log(scaling))))
        parts.append(emit.node("Add", emit.node("Mul", grown, emit.constant(-0.5)), emit.constant(np.log(prior))))
    _decide(emit, emit.node("Concat", *parts, axis=1), model.classes_)


def _repeated(emit: Emit, values: Any, dtype: Any = None) -> str:
    """The same row for every row of the input."""
    begin, end = emit.constant([0], np.int64), emit.constant([1], np.int64)
    count = emit.node("Slice", emit.node("Shape", emit.input()), begin, end)
    rest = emit.constant(np.shape(values), np.int64)
    target = emit.node("Concat", count, rest, axis=0) if np.ndim(values) else count
    return emit.node("Expand", emit.constant(values, dtype), target)


def constant_classifier(scope: Any, operator: Any, container: Any) -> None:
    """DummyClassifier where it does not draw lots."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    if model.strategy not in ("prior", "most_frequent", "constant"):
        raise NotCompilable("answers drawn by lot")
    blank = np.zeros((1, 1))
    emit.output(0, _repeated(emit, model.predict(blank)[0], np.int64))
    emit.output(1, _repeated(emit, model.predict_proba(blank)[0]))


def constant_regressor(scope: Any, operator: Any, container: Any) -> None:
    """DummyRegressor."""
    emit = Emit(scope, operator, container)
    emit.output(0, _repeated(emit, operator.raw_operator.constant_[0]))
