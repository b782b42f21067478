"""The datatypes of the Open Inference Protocol, and which of them a model's columns and labels have.

Between the replica, which tells clients what a version takes and answers, and the predictor, which
writes the answers: both must say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

DATATYPES: Final = frozenset(
    {
        "BOOL", "BYTES", "FP16", "FP32", "FP64",
        "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
    }
)  # fmt: skip
"""Every datatype there is."""

UNTYPED: Final = ""
"""Stands for a datatype where a protocol names none: the data is JSON, and its cells say what they are."""

_OF_COLUMNS: Final = {"number": "FP64", "boolean": "BOOL", "date": "BYTES", "text": "BYTES"}


def of_column(kind: str) -> str:
    """What says best what a column of a schema's type holds; dates travel as text."""
    return _OF_COLUMNS.get(kind, "BYTES")


def of_labels(classes: Sequence[Any] | None) -> str:
    """What labels are, by the classes of a manifest; those of a regression, without classes, are FP64."""
    kinds = {float} if classes is None else {type(name) for name in classes}
    if kinds == {int}:
        return "INT64"
    if kinds == {bool}:
        return "BOOL"
    return "FP64" if kinds <= {int, float} else "BYTES"
