"""What a training request may hold: so much that its check holds nobody up, and that its job fits into a message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api import training
from wire import catalogue, errors, messages


def body(**changed: Any) -> training.TrainBody:
    asked = {**training.EXAMPLE, **changed}
    return msgspec.convert(asked, training.TrainBody)


def faults(asked: training.TrainBody) -> list[str]:
    with pytest.raises(errors.BadInput) as refused:
        training.check(asked)
    return [fault.at for fault in refused.value.errors]


def test_values_by_the_hundred_thousand_are_one_fault() -> None:
    assert faults(body(search={"kind": "random", "space": {"C": [-1] * 300_000}})) == ["search.space"]


def test_column_to_order_by_has_the_length_of_a_name() -> None:
    training.check(body(validation={"order_by": "a" * 256}))
    assert faults(body(validation={"order_by": "a" * 257})) == ["validation.order_by"]


def test_largest_request_is_stored_in_less_than_a_mebibyte() -> None:
    space = {"class_weight": [{"a" * (catalogue.MAX_BYTES - 50): 1}]}
    largest = body(
        params={"C": 1e15},
        search={"kind": "random", "space": space},
        validation={"order_by": "a" * 256},
    )
    training.check(largest)
    stored = training.request_of(largest, messages.DatasetRef(sample="iris"), submitted_at="", request_id="")
    assert catalogue.MAX_BYTES < len(stored) < 2**20
