"""The target column: which task it makes, which classes it has, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.trainer.training import request, typed
from trainer import fit, target
from trainer.refusals import failed
from wire import errors


def read(values: Any, task: Any = None) -> target.Target:
    table = typed(y=values)
    return target.read(table.frame, table.types, "y", task)


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["b", "a", "b", "a"], "classification", ("a", "b")),
        ([True, False, True, True], "classification", (False, True)),
        ([1.0, 2.0] * 10, "classification", (1, 2)),
        ([1.0, 2.0, 3.0, 4.0], "regression", None),
        ([1.5, 2.5] * 10, "regression", None),
        (np.arange(21.0).repeat(10), "regression", None),
    ],
)
def test_auto_decides_the_task_by_the_content(values: Any, task: str, classes: Any) -> None:
    found = read(values)
    assert (found.task, found.classes) == (task, classes)


def test_a_classifier_takes_numbers_for_classes() -> None:
    found = read([1.5, 2.0, 1.5, 2.0], "classification")
    assert found.classes == (1.5, 2)
    assert found.values.tolist() == [0, 1, 0, 1]
    assert [type(one) for one in found.classes or ()] == [float, int]
    assert found.notes == ()


def test_classes_are_json_scalars() -> None:
    assert [type(one) for one in read(["b", "a"] * 4).classes or ()] == [str, str]
    assert [type(one) for one in read([True, False] * 4).classes or ()] == [bool, bool]


def test_rows_without_a_target_are_masked() -> None:
    found = read([1.0, np.nan, 2.5, 3.0, 4.0])
    assert found.rows.tolist() == [True, False, True, True, True]
    assert found.values.tolist() == [1.0, 2.5, 3.0, 4.0]
    assert read(["a", "", "b", "a", "b"]).rows.tolist() == [True, False, True, True, True]


def test_more_classes_than_anyone_can_learn_are_refused() -> None:
    many = [f"c{row % 1001}" for row in range(4004)]
    with pytest.raises(errors.TrainingFailed, match="1001 different values in 4004 rows"):
        read(many)
    assert len(read([f"c{row % 1000}" for row in range(4000)]).classes or ()) == 1000


def test_texts_that_are_too_long_for_classes_are_refused() -> None:
    longest = "x" * target.LONGEST_CLASS
    assert read([longest, "a"] * 4).classes == ("a", longest)
    with pytest.raises(errors.TrainingFailed, match="1001 characters") as caught:
        read([f"{longest}x", "a"] * 4)
    assert "x" * 10 not in caught.value.message


def test_a_class_weight_may_name_a_number() -> None:
    table = typed(a=np.arange(120.0), y=np.arange(120.0) % 2)
    fitted = fit.fit(table, request("RidgeClassifier", params={"class_weight": {"1": 5}}))
    assert fitted.pipeline.named_steps["model"].class_weight == {1: 5}
    constant = fit.fit(table, request("DummyClassifier", params={"strategy": "constant", "constant": 1.0}))
    assert set(constant.pipeline.predict(constant.prepared.inputs)) == {1}


def test_a_fit_that_runs_out_of_memory_says_so() -> None:
    error = failed("SVC", MemoryError())
    assert "more memory" in error.message
    assert error.hint


def test_an_estimator_without_an_answer_for_new_rows_is_refused_with_a_hint() -> None:
    draw = np.random.default_rng(0)
    table = typed(a=draw.normal(size=300), b=draw.normal(size=300), y=draw.normal(size=300))
    with pytest.raises(errors.TrainingFailed, match="no finite answer") as caught:
        fit.fit(table, request("RadiusNeighborsRegressor", params={"radius": 0.01}))
    assert "KNeighborsRegressor" in caught.value.hint
