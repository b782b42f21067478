"""Converters for everything that is a weighted sum of the columns: linear regressors and classifiers.

In float32 a weighted sum has other bits alone than in a batch, and in float64 skl2onnx's own
forms of the logistic function and the softmax do; these have the same in any batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.compile.converters.emit import Emit, NotCompilable


def _sum(emit: Emit, weights: NDArray[Any], constants: Any) -> str:
    """Rows times ``weights`` (outputs, columns), plus one constant per output."""
    product = emit.node("MatMul", emit.input(), emit.constant(np.ascontiguousarray(weights.T)))
    return emit.node("Add", product, emit.constant(np.broadcast_to(np.ravel(constants), (len(weights),))[None, :]))


def _weights(model: Any) -> NDArray[np.float64]:
    coefficients = model.coef_.toarray() if hasattr(model.coef_, "toarray") else np.asarray(model.coef_)
    return np.atleast_2d(coefficients)


def regressor(scope: Any, operator: Any, container: Any) -> None:
    """Any regressor with ``coef_`` and ``intercept_`` for one target."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    weights = _weights(model)
    if len(weights) != 1:
        raise NotCompilable("several targets")
    emit.output(0, _sum(emit, weights, model.intercept_))


def logarithmic_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Poisson, gamma and Tweedie regression: the exponential of the sum, or the sum itself."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    raw = _sum(emit, _weights(model), model.intercept_)
    link = type(model._base_loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise NotCompilable(f"the link {link}")
    emit.output(0, raw if link == "IdentityLink" else emit.elementwise("Exp", raw, 1))


def centred_regressor(scope: Any, operator: Any, container: Any) -> None:
    """Partial least squares: the columns minus their means, weighted."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    weights = _weights(model)
    if len(weights) != 1:
        raise NotCompilable("several targets")
    centred = emit.node("Sub", emit.input(), emit.constant(np.asarray(model._x_mean)[None, :]))
    product = emit.node("MatMul", centred, emit.constant(np.ascontiguousarray(weights.T)))
    emit.output(0, emit.node("Add", product, emit.constant(np.ravel(model.intercept_)[None, :])))


def classifier(scope: Any, operator: Any, container: Any) -> None:
    """Any classifier whose label is the largest weighted sum (above 0 for two classes).

    Its second output, where it has no probabilities, is the sums; the conversion drops it.
    """
    emit, model = Emit(scope, operator, container), operator.raw_operator
    weights, classes = _weights(model), model.classes_
    raw = _sum(emit, weights, model.intercept_)
    if len(classes) > 2:
        emit.label(emit.argmax(raw), classes)
        emit.output(1, _shares(emit, model, raw, len(classes)))
        return
    second = emit.elementwise("Sigmoid", raw, 1)
    if getattr(model, "loss", "") == "modified_huber":
        second = _clipped(emit, raw)
    emit.two_classes(second, emit.node("Greater", raw, emit.constant(0)), classes)


def _clipped(emit: Emit, raw: str) -> str:
    """Half of one plus the sum, cut off at 0 and 1: modified Huber's probability."""
    inside = emit.node("Clip", raw, emit.constant(-1), emit.constant(1))
    return emit.node("Div", emit.node("Add", inside, emit.constant(1)), emit.constant(2))


def _shares(emit: Emit, model: Any, raw: str, width: int) -> str:
    """Probabilities of three classes or more."""
    if not hasattr(model, "predict_proba"):
        return raw
    loss = getattr(model, "loss", "")
    if loss not in ("log_loss", "modified_huber"):
        return emit.softmax(raw, width)
    # One against the rest: each class by itself, then divided by their sum; all alike where it is 0.
    each = _clipped(emit, raw) if loss == "modified_huber" else emit.elementwise("Sigmoid", raw, width)
    nothing = emit.node("Equal", emit.row_sum(each, width), emit.constant(0))
    each = emit.node("Where", nothing, emit.constant(1), each)
    return emit.node("Div", each, emit.row_sum(each, width))


def calibrated_classifier(scope: Any, operator: Any, container: Any) -> None:
    """CalibratedClassifierCV of linear classifiers with Platt's sigmoids: the mean over its folds."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    count = len(model.classes_)
    folds = [_calibrated(emit, fold, count) for fold in model.calibrated_classifiers_]
    total = folds[0]
    for fold in folds[1:]:
        total = emit.node("Add", total, fold)
    emit.classify(emit.node("Div", total, emit.constant(len(folds))), model.classes_)


def _calibrated(emit: Emit, fold: Any, count: int) -> str:
    """One fold's probabilities."""
    sigmoids = [(getattr(one, "a_", None), getattr(one, "b_", None)) for one in fold.calibrators]
    if not hasattr(fold.estimator, "coef_") or len(fold.estimator.classes_) != count or (None, None) in sigmoids:
        raise NotCompilable("a calibration of anything but linear classifiers by sigmoids")
    slopes, constants = np.array(sigmoids, dtype=np.float64).T
    raw = _sum(emit, _weights(fold.estimator), fold.estimator.intercept_)
    moved = emit.node("Add", emit.node("Mul", raw, emit.constant(slopes[None, :])), emit.constant(constants[None, :]))
    each = emit.elementwise("Sigmoid", emit.node("Neg", moved), len(sigmoids))
    if count == 2:
        return emit.node("Concat", emit.node("Sub", emit.constant(1), each), each, axis=1)
    sums = emit.row_sum(each, count)
    nothing = emit.node("Equal", sums, emit.constant(0))
    return emit.node("Where", nothing, emit.constant(1 / count), emit.node("Div", each, sums))
