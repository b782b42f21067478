"""Requests of other encodings: their rows are those of JSON, and their answers the outputs they want."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from predictor import encodings, inference, loaded, output_tensors
from predictor.encodings import Answer, Asked
from predictor.loaded import LoadedVersion
from tests.unit.predictor.artefacts import artefact, classifier, regression
from wire import errors, frames

TABLE = np.array([[1.0, 2.0], [2.0, 1.0], [0.5, 0.25]])


def elements(*texts: str) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def prepared(classes: list[Any] | None) -> LoadedVersion:
    graph = regression() if classes is None else classifier()
    return loaded.prepare(artefact(graph, classes=classes))


def asked(*outputs: str, form: frames.Form = "raw", table: Any = TABLE) -> Asked:
    data = table.astype("<f8").tobytes()
    tensor = frames.Tensor("x", "FP64", table.shape, len(data), "raw")
    wanted = tuple(frames.Wanted(name, form) for name in outputs)  # type: ignore[arg-type]
    return Asked(data, "predict_proba" in outputs, "tensors", (tensor,), wanted)


def rows(table: Any = TABLE, probabilities: bool = False) -> Asked:
    return Asked(json.dumps(table.tolist()).encode(), probabilities)


def one(version: LoadedVersion, request: Asked) -> Answer:
    (answer,) = inference.compute(version, [request], max_rows=10)
    assert isinstance(answer, Answer), answer
    return answer


def data(answer: Answer) -> list[bytes]:
    return [bytes(piece) for piece in frames.split(memoryview(answer.members), answer.outputs)]


@pytest.mark.parametrize(
    ("classes", "datatype", "raw"),
    [
        (["no", "yés"], "BYTES", elements("no", "yés", "yés")),
        ([3, 7], "INT64", np.array([3, 7, 7], dtype="<i8").tobytes()),
        ([False, True], "BOOL", b"\x00\x01\x01"),
        ([0.5, 2], "FP64", np.array([0.5, 2, 2]).tobytes()),
        ([0, "one"], "BYTES", elements("0", "one", "one")),
    ],
)  # fmt: skip
def test_labels_have_the_datatype_of_their_classes(classes: list[Any], datatype: str, raw: bytes) -> None:
    version = prepared(classes)
    answer = one(version, asked("predict"))
    assert answer.outputs == (frames.Output("predict", datatype, (3,), len(raw)),)
    assert answer.members == raw
    in_json = one(version, asked("predict", form="json"))
    assert json.loads(in_json.members) == [classes[0], classes[1], classes[1]]
    assert (in_json.outputs[0].datatype, in_json.rows) == (datatype, 3)


def test_outputs_come_in_the_order_they_are_wanted_in_and_are_those_of_rows() -> None:
    version = prepared(["no", "yes"])
    told = json.loads(b"{" + one(version, rows(probabilities=True)).members + b"}")
    shares, labels = data(one(version, asked("predict_proba", "predict", form="json")))
    assert json.loads(labels) == told["predictions"]
    assert np.array(json.loads(shares)).reshape(3, 2).tolist() == told["probabilities"]
    (binary,) = data(one(version, asked("predict_proba")))
    assert np.frombuffer(binary).reshape(3, 2).tolist() == told["probabilities"]


def test_values_of_a_regression_are_fp64() -> None:
    answer = one(prepared(None), asked("predict"))
    assert answer.outputs[0].datatype == "FP64"
    assert np.frombuffer(answer.members).tolist() == [3.0, 3.0, 0.75]


def test_a_request_of_tensors_may_be_answered_with_members() -> None:
    assert json.loads(b"{" + one(prepared(None), asked()).members + b"}") == {"predictions": [3.0, 3.0, 0.75]}


def test_a_batch_of_several_is_answered_each_by_itself() -> None:
    version = prepared(["no", "yes"])
    bad = asked("predict")._replace(body=b"12345678")
    outcomes = inference.compute(
        version, [asked("predict"), bad, rows(), asked("predict", table=TABLE[:1])], max_rows=10
    )
    first, wrong, third, last = outcomes
    assert isinstance(wrong, errors.MalformedBody)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert (first.rows, last.rows) == (3, 1)
    assert isinstance(third, Answer)
    assert third.members == b'"predictions":["no","yes","yes"]'
    together = inference.together(version, [asked("predict"), asked("predict", table=TABLE[:1])], 10)
    assert together == [first, last]


@pytest.mark.parametrize("shape", [(10_000, 2**31 - 1), (1, 2**31 - 1), (10_000,)])
@pytest.mark.parametrize("body", [b"[1]", b"[[1]]"])
def test_a_shape_without_its_data_is_refused_and_those_beside_it_are_answered(
    body: bytes, shape: tuple[int, ...]
) -> None:
    tensor = frames.Tensor("x", "FP64", shape, len(body))
    bad = Asked(body, False, "tensors", (tensor,), (frames.Wanted("predict"),))
    version = prepared(None)
    outcomes = inference.compute(version, [asked("predict"), bad, rows()], max_rows=10_000)
    assert [each.rows if isinstance(each, Answer) else each.code for each in outcomes] == [3, "bad_input", 3]


def test_what_a_version_does_not_have_is_said() -> None:
    (outcome,) = inference.compute(prepared(None), [asked("predict_proba")], max_rows=10)
    assert isinstance(outcome, errors.BadInput)
    assert outcome.errors[0].at == "outputs"
    (outcome,) = inference.compute(prepared(None), [asked("predict", table=np.ones((11, 2)))], max_rows=10)
    assert isinstance(outcome, errors.TooLarge)
    grown = loaded.prepare(artefact(regression(exponential=True)))
    for form in ("raw", "json"):
        (outcome,) = inference.compute(grown, [asked("predict", form=form, table=TABLE * 1e6)], max_rows=10)  # type: ignore[arg-type]
        assert isinstance(outcome, errors.BadInput)
        assert outcome.errors[0].at == "instances[0]"


def test_an_unknown_class_is_our_own_defect() -> None:
    version = prepared(["no", "yes"])
    output = inference.Output(np.array([0, 2]), None)
    for form in ("raw", "json"):
        with pytest.raises(errors.InternalError):
            output_tensors.encode(version, output, 0, 2, (frames.Wanted("predict", form),))  # type: ignore[arg-type]


def test_rows_are_bounded_without_reading_them() -> None:
    assert encodings.row_bound(asked("predict")) == 3
    assert encodings.row_bound(rows()) == 3
    assert encodings.row_bound(Asked(b"1", False)) == 1
    assert encodings.row_bound(Asked(b"[1,2,3]", False, "tensors", (frames.Tensor("x", "", (), 7),))) == 3
    assert encodings.row_bound(Asked(b"a\n1\n2\n", False, "csv")) == 4
