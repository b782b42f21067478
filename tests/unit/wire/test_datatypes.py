from __future__ import annotations

from typing import Any

import pytest

from wire import datatypes


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [
        (None, "FP64"),
        ([0, 1], "INT64"),
        ([False, True], "BOOL"),
        (["no", "yes"], "BYTES"),
        ([0.5, 2], "FP64"),
        ([0, "one"], "BYTES"),
        ([0, True], "BYTES"),
    ],
)
def test_labels_are_what_their_classes_are(classes: list[Any] | None, datatype: str) -> None:
    assert datatypes.of_labels(classes) == datatype
    assert datatype in datatypes.DATATYPES


def test_a_column_has_the_datatype_that_says_best_what_it_holds() -> None:
    told = [datatypes.of_column(kind) for kind in ("number", "boolean", "date", "text", "from the future")]
    assert told == ["FP64", "BOOL", "BYTES", "BYTES", "BYTES"]
    assert datatypes.UNTYPED not in datatypes.DATATYPES
