"""Converters for what stands before the estimator: imputing and scaling of numbers.

skl2onnx has these in float32 only, or as another order of operations. Here they are what
scikit-learn computes, in the graph's own type, so that a value next to a tree's threshold
falls on the same side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from trainer.compile import precision
from trainer.compile.converters.emit import Emit, NotCompilable


def tensor_type() -> Any:
    """skl2onnx's name for a matrix of the graph's type."""
    return DoubleTensorType if precision.CURRENT.get().dtype is np.float64 else FloatTensorType


def set_output(operator: Any, width: int | None, place: int = 0) -> None:
    """Shape calculator's work: the output is a matrix of the graph's type with ``width`` columns."""
    operator.outputs[place].type = tensor_type()([operator.inputs[0].get_first_dimension(), width])


def imputer_shape(operator: Any) -> None:
    """A column without any value at fitting time is dropped."""
    set_output(operator, len(_kept(operator.raw_operator)))


def imputer(scope: Any, operator: Any, container: Any) -> None:
    """SimpleImputer on numbers: every NaN becomes its column's statistic."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    statistics = np.asarray(model.statistics_)
    if statistics.dtype.kind not in "fiu" or model.add_indicator or not _is_nan(model.missing_values):
        raise NotCompilable("an imputer of anything but plain missing numbers")
    rows, kept = emit.input(), _kept(model)
    if len(kept) < len(statistics):
        rows = emit.node("Gather", rows, emit.constant(kept, np.int64), axis=1)
    emit.output(0, emit.node("Where", emit.node("IsNaN", rows), emit.constant(statistics[kept][None, :]), rows))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)


def _kept(model: Any) -> list[int]:
    return [place for place, value in enumerate(model.statistics_) if model.keep_empty_features or not _is_nan(value)]


def same_shape(operator: Any) -> None:
    """As many columns as the fitted scaler saw."""
    set_output(operator, operator.raw_operator.n_features_in_)


def scaler(scope: Any, operator: Any, container: Any) -> None:
    """StandardScaler, RobustScaler, MaxAbsScaler: minus the centre, divided by the scale."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    rows = emit.input()
    centre = getattr(model, "mean_", getattr(model, "center_", None))
    if centre is not None and getattr(model, "with_mean", True):
        rows = emit.node("Sub", rows, emit.constant(centre[None, :]))
    if model.scale_ is not None:
        rows = emit.node("Div", rows, emit.constant(model.scale_[None, :]))
    if getattr(model, "clip", False):
        rows = emit.node("Clip", rows, emit.constant(-1), emit.constant(1))
    emit.output(0, rows)


def range_scaler(scope: Any, operator: Any, container: Any) -> None:
    """MinMaxScaler: times the scale, plus the minimum, optionally clipped."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    rows = emit.node("Mul", emit.input(), emit.constant(model.scale_[None, :]))
    rows = emit.node("Add", rows, emit.constant(model.min_[None, :]))
    if model.clip:
        low, high = model.feature_range
        rows = emit.node("Clip", rows, emit.constant(low), emit.constant(high))
    emit.output(0, rows)


def bins_shape(operator: Any) -> None:
    """One column per bin, or one per column."""
    model = operator.raw_operator
    set_output(operator, len(model.n_bins_) if model.encode == "ordinal" else int(model.n_bins_.sum()))


def bins(scope: Any, operator: Any, container: Any) -> None:
    """KBinsDiscretizer: a number's bin is how many of the inner edges it reaches."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    rows, parts = emit.input(), []
    for place, edges in enumerate(model.bin_edges_):
        column = emit.node("Gather", rows, emit.constant([place], np.int64), axis=1)
        reached = emit.cast(emit.node("GreaterOrEqual", column, emit.constant(edges[1:-1][None, :])), np.int64)
        number = emit.node("ReduceSum", reached, emit.constant([1], np.int64), keepdims=1)
        if model.encode != "ordinal":
            number = emit.node("Equal", number, emit.constant(np.arange(len(edges) - 1)[None, :], np.int64))
        parts.append(emit.cast(number, emit.dtype))
    emit.output(0, emit.node("Concat", *parts, axis=1))
