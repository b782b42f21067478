"""Converters for text columns: one-hot, ordinal and target encoding.

All three answer a text by looking it up, so the graph holds the encoder's own answers: each
known category (and one unknown text) is sent through the fitted encoder once, at conversion.
Whatever options it was fitted with (dropped, infrequent, unknown categories; several
classes), the table is right by construction.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from trainer.compile.converters.emit import ML, Emit, NotCompilable
from trainer.compile.converters.preparing import set_output, tensor_type

_UNKNOWN = "\ue000 no such category \ue000"


def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """Declare the output in the graph's type; skl2onnx would take float32 after text."""
    operator = scope.declare_local_operator(f"Warren{type(model).__name__}", model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("encoded", tensor_type()()))
    return operator.outputs


def shape(operator: Any) -> None:
    """As many columns as the fitted encoder answers."""
    set_output(operator, sum(_widths(operator.raw_operator)))


def encoder(scope: Any, operator: Any, container: Any) -> None:
    """OneHotEncoder, OrdinalEncoder or TargetEncoder on text columns."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    if any(not isinstance(text, str) for texts in model.categories_ for text in texts):
        raise NotCompilable("an encoder of anything but text")
    columns = _columns(emit, operator)
    parts, begin = [], 0
    for place, width in enumerate(_widths(model)):
        table = _table(model, place)[:, begin : begin + width]
        begin += width
        if width:
            parts.append(_look_up(emit, columns[place], list(model.categories_[place]), table, _is_one_hot(model)))
    emit.output(0, parts[0] if len(parts) == 1 else emit.node("Concat", *parts, axis=1))


def _is_one_hot(model: Any) -> bool:
    return type(model).__name__ == "OneHotEncoder"


def _widths(model: Any) -> list[int]:
    if _is_one_hot(model):
        return [int(width) for width in model._n_features_outs]
    several = getattr(model, "target_type_", "") == "multiclass"
    return [len(model.classes_) if several else 1] * len(model.categories_)


def _columns(emit: Emit, operator: Any) -> list[str]:
    """The name of each text column as a matrix with one column."""
    columns = []
    for variable in operator.inputs:
        width = variable.get_second_dimension()
        if width == 1:
            columns.append(variable.full_name)
        else:
            columns += [
                emit.node("Gather", variable.full_name, emit.constant([place], np.int64), axis=1)
                for place in range(width)
            ]
    return columns


def _table(model: Any, place: int) -> NDArray[np.float64]:
    """The encoder's answer for every category of one column, and last for an unknown text."""
    rows = [[texts[0] for texts in model.categories_] for _ in range(len(model.categories_[place]) + 1)]
    for row, text in zip(rows, [*model.categories_[place], _UNKNOWN], strict=True):
        row[place] = text
    with warnings.catch_warnings():
        # The encoder knows its columns by name, these have none; an unknown category is meant to be one.
        warnings.simplefilter("ignore")
        known = _dense(model.transform(np.array(rows[:-1], dtype=object)))
        try:
            unknown = _dense(model.transform(np.array(rows[-1:], dtype=object)))
        except ValueError as error:
            raise NotCompilable("an encoder that refuses unknown categories") from error
    return np.concatenate([known, unknown]).astype(np.float64)


def _dense(answer: Any) -> NDArray[np.float64]:
    return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)


def _look_up(emit: Emit, column: str, texts: list[str], table: NDArray[np.float64], one_hot: bool) -> str:
    keys = numpy_helper.from_array(np.array(texts, dtype=object))
    width = table.shape[1]
    if one_hot:
        # Which output is 1, or none: smaller than a table of ones and zeros.
        values: NDArray[Any] = np.where(table.any(axis=1), table.argmax(axis=1), -1)
        place = _encode(emit, column, keys, values.astype(np.int64))
        hit = emit.node("Equal", place, emit.constant(np.arange(width)[None, :], np.int64))
        return emit.cast(hit, emit.dtype)
    if width == 1:
        return _encode(emit, column, keys, table[:, 0].astype(emit.dtype))
    row = _encode(emit, column, keys, np.arange(len(table)))
    flat = emit.node("Reshape", row, emit.constant([-1], np.int64))
    return emit.node("Gather", emit.constant(table), flat, axis=0)


def _encode(emit: Emit, column: str, keys: Any, values: NDArray[Any]) -> str:
    return emit.node(
        "LabelEncoder",
        column,
        domain=ML,
        keys_tensor=keys,
        values_tensor=numpy_helper.from_array(np.ascontiguousarray(values[:-1])),
        default_tensor=numpy_helper.from_array(np.ascontiguousarray(values[-1:])),
    )
