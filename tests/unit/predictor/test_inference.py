from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from model_store import errors as store
from model_store.reading import Artefact
from model_store.runtime import CannotPredict, Output
from predictor import answers, inference, loaded
from predictor.inference import Answer, Asked
from predictor.loaded import LoadedVersion
from tables.schema import Schema
from tests.unit.predictor.artefacts import MIXED, NUMBERS, artefact, classifier, mixed, regression
from wire import errors


def prepared(graph: bytes, schema: Schema = NUMBERS, classes: list[Any] | None = None) -> LoadedVersion:
    return loaded.prepare(artefact(graph, schema, classes))


def ask(version: LoadedVersion, *rows: Any, probabilities: bool = False, max_rows: int = 100) -> list[Any]:
    """Each request's answer as an object, or its error."""
    asked = [Asked(row if isinstance(row, bytes) else json.dumps(row).encode(), probabilities) for row in rows]
    outcomes = inference.compute(version, asked, max_rows=max_rows)
    return [json.loads(b"{" + each.members + b"}") if isinstance(each, Answer) else each for each in outcomes]


def test_values_are_answered_with_all_their_digits() -> None:
    assert ask(prepared(regression(0.1)), [[1, 2], [0.1, 0.2]], [{"b": 1, "a": 1e300}]) == [
        {"predictions": [0.1 * 1 + 0.1 * 2, 0.1 * 0.1 + 0.1 * 0.2]},
        {"predictions": [1e299]},
    ]


@pytest.mark.parametrize("classes", [["no", 'y"es'], [0, 1], [0.5, 1e-7], [False, True], ["Æ", ""]])
def test_classes_are_answered_as_the_target_had_them(classes: list[Any]) -> None:
    (answer,) = ask(prepared(classifier(), classes=classes), [[1, 2], [2, 1]])
    assert answer == {"predictions": classes}


def test_probabilities_come_when_they_are_asked_for() -> None:
    version = prepared(classifier(), classes=["no", "yes"])
    (answer,) = ask(version, [[0, 0], [1, 0]], probabilities=True)
    assert answer["predictions"] == ["no", "yes"]
    assert answer["probabilities"][0] == [0.5, 0.5]
    assert sum(answer["probabilities"][1]) == pytest.approx(1)
    assert "probabilities" not in ask(version, [[0, 0]])[0]


@pytest.mark.parametrize("version", [prepared(classifier(probabilities=False), classes=[0, 1]), prepared(regression())])
def test_probabilities_of_a_version_that_has_none_are_refused(version: LoadedVersion) -> None:
    (error,) = ask(version, [[1, 2]], probabilities=True)
    assert isinstance(error, errors.BadInput)
    assert error.errors[0].at == "probabilities"


def test_every_type_of_column_reaches_the_model() -> None:
    version = prepared(mixed(), MIXED)
    named = {"age": 1, "city": "Paris", "member": True, "since": "2020-01-03"}
    assert ask(version, [named, {}], [[1, "Rome", False, "2020-01-01T12:00"]]) == [
        {"predictions": [104.0, 21.0]},
        {"predictions": [1.5]},
    ]


def test_a_bad_row_spoils_its_own_request_and_no_other() -> None:
    answered = ask(prepared(regression()), [[1, 2]], [[1]], b"[[1,", [[3, 4]], [[1, 2]] * 6, max_rows=5)
    assert answered[0] == {"predictions": [3.0]}
    assert isinstance(answered[1], errors.BadInput)
    assert answered[1].errors[0].at == "instances[0]"
    assert isinstance(answered[2], errors.MalformedBody)
    assert answered[3] == {"predictions": [7.0]}
    assert isinstance(answered[4], errors.TooLarge)


def test_requests_without_any_readable_row_need_no_inference() -> None:
    assert [type(each) for each in ask(prepared(regression()), [[1]], b"")] == [errors.BadInput, errors.MalformedBody]


def test_an_answer_that_is_no_number_is_an_error_of_its_rows() -> None:
    version = prepared(regression(exponential=True))
    answered = ask(version, [[1, -1]], [[0, 0], [1e9, 0], [1e9, 1]])
    assert answered[0] == {"predictions": [1.0]}
    assert [error.at for error in answered[1].errors] == ["instances[1]", "instances[2]"]


class Fussy:
    """A runtime that refuses what is over 100, as scikit-learn refuses what is over float32."""

    kind = "skops"
    size_bytes = 1

    def __init__(self, labels: Any = None) -> None:
        self.labels = labels

    def predict(self, numbers: Any, texts: Any, probabilities: bool = False) -> Output:
        if (numbers > 100).any():
            raise CannotPredict("too large")
        labels = numbers.sum(axis=1) if self.labels is None else self.labels
        return Output(labels, np.full((len(numbers), 2), np.nan))

    def close(self) -> None:
        """Nothing to let go of."""


def test_a_row_the_model_refuses_spoils_its_own_request_and_no_other() -> None:
    version = LoadedVersion("m", 1, NUMBERS, Fussy(), None, 1)  # type: ignore[arg-type]
    answered = ask(version, [[1, 2]], [[1, 101]], [[1]], [[3, 4]])
    assert answered[0] == {"predictions": [3.0]}
    assert "too large" in answered[1].message
    assert isinstance(answered[2], errors.BadInput)
    assert answered[3] == {"predictions": [7.0]}


def test_probabilities_that_are_no_numbers_are_an_error_of_their_rows() -> None:
    version = LoadedVersion("m", 1, NUMBERS, Fussy(), None, 1)  # type: ignore[arg-type]
    (error,) = ask(version, [[1, 2], [3, 4]], probabilities=True)
    assert [each.at for each in error.errors] == ["instances[0]", "instances[1]"]


def test_a_class_the_manifest_does_not_know_is_a_defect() -> None:
    version = LoadedVersion("m", 1, NUMBERS, Fussy(), {0: b'"no"'}, 1)  # type: ignore[arg-type]
    output = Output(np.array([0, -1]), None)
    with pytest.raises(errors.InternalError):
        answers.encode(version, output, 0, 2, probabilities=False)
    assert answers.encode(version, output, 0, 1, probabilities=False) == b'"predictions":["no"]'


def test_a_row_gets_the_same_answer_alone_and_in_company() -> None:
    version = prepared(classifier(), classes=["no", "yes"])
    rows = np.random.default_rng(0).normal(size=(40, 2)).tolist()
    together = ask(version, *[[row] for row in rows], probabilities=True)
    alone = [ask(version, [row], probabilities=True)[0] for row in rows]
    assert together == alone


def test_a_version_is_not_loaded_unless_everything_fits() -> None:
    good = artefact(classifier(), classes=[0, 1])
    changes: dict[str, Any] = {
        "schema.json": b"{}",
        "samples.json": b'{"numbers":[[1,2]],"texts":[[]],"labels":[1],"probabilities":[[0.1,0.9]]}',
        "model.onnx": b"not a graph",
    }
    for name, content in changes.items():
        with pytest.raises(store.Corrupt):
            loaded.prepare(Artefact(good.manifest, good.files | {name: content}))
    without = msgspec.structs.replace(good.manifest, classes=None)
    with pytest.raises(store.Corrupt, match="classes"):
        loaded.prepare(Artefact(without, good.files))


def test_rows_made_up_for_warming_may_be_refused() -> None:
    rows = loaded.empty_rows(MIXED, 3)
    assert rows.numbers.shape == (3, 3)
    assert rows.texts.tolist() == [[""]] * 3
    rows.numbers[:] = 101
    loaded.warm(Fussy(), rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [1, 3, 10_000])
def test_answers_written_at_once_are_what_each_request_gets_alone(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PART_VALUES", part)
    monkeypatch.setattr(inference, "PART_ROWS", part)
    rows = [[[1, 2]], [[0.1, 0.2], [3, 4], [1e300, -1e300]], [[2, 1]]]
    for version in (prepared(classifier(), classes=["no", "y],[es"]), prepared(regression(0.1))):
        for probabilities in (False, True):
            assert repr(ask(version, *rows, probabilities=probabilities)) == repr(
                [ask(version, each, probabilities=probabilities)[0] for each in rows]
            )


def test_requests_with_and_without_probabilities_share_a_batch() -> None:
    version = prepared(classifier(), classes=["no", "yes"])
    outcomes = inference.compute(version, [Asked(b"[[1,2]]", False), Asked(b"[[0,0],[1,1]]", True)], max_rows=9)
    members = [each.members for each in outcomes if isinstance(each, Answer)]
    assert members == [
        b'"predictions":["no"]',
        b'"predictions":["no","no"],"probabilities":[[0.5,0.5],[0.5,0.5]]',
    ]
