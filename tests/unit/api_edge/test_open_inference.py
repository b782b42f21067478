"""A request of the Open Inference Protocol: tensors pass undecoded, everything around them is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.protocols.open_inference import infer, reading, writing
from wire import errors, frames


def body(**members: Any) -> bytes:
    given = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}], **members}
    return json.dumps(given).encode()


def read(raw: bytes, length: int | None = None, max_rows: int = 10) -> reading.Request:
    return reading.read(raw, None if length is None else str(length).encode(), max_rows)


def test_json_tensors_are_the_bytes_that_came() -> None:
    raw = b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[ 1.50 ]},' \
          b'{"data":[["x"]],"name":"b","shape":[1,1],"datatype":"BYTES"}],"id":"7","more":{}}'  # fmt: skip
    asked = read(raw)
    assert bytes(asked.data) == b'[ 1.50 ][["x"]]'
    assert asked.tensors == (frames.Tensor("a", "FP64", (1,), 8), frames.Tensor("b", "BYTES", (1, 1), 7))
    assert (asked.rows, asked.id, asked.outputs) == (1, "7", (frames.Wanted("predict"),))


def test_binary_tensors_follow_the_json_in_order() -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "a", "shape": [2], "datatype": "INT8", "parameters": {"binary_data_size": 2}},
                {"name": "b", "shape": [2], "datatype": "INT8", "data": [3, 4]},
                {"name": "c", "shape": [2], "datatype": "INT8", "parameters": {"binary_data_size": 2}},
            ]
        }
    ).encode()
    asked = read(head + b"\x01\x02\x05\x06", len(head))
    assert bytes(asked.data) == b"\x01\x02[3, 4]\x05\x06"
    assert [tensor.form for tensor in asked.tensors] == ["raw", "json", "raw"]


def test_outputs_are_written_as_they_are_wanted() -> None:
    wanted = [{"name": "predict_proba", "parameters": {"binary_data": False}}, {"name": "predict"}]
    asked = read(body(outputs=wanted, parameters={"binary_data_output": True}))
    assert asked.outputs == (frames.Wanted("predict_proba", "json"), frames.Wanted("predict", "raw"))
    assert read(body(parameters={"binary_data_output": True})).outputs == (frames.Wanted("predict", "raw"),)
    assert read(body(outputs=[])).outputs == (frames.Wanted("predict"),)


MALFORMED = [
    b"",
    b"{",
    b"[1]x",
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[NaN]}]}',
    b'{"inputs":[{"name":"\xff","shape":[1],"datatype":"FP64","data":[1]}]}',
    b'{"inputs":' + b"[" * 100_000,
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":' + b"[" * 40 + b"]" * 40 + b"}]}",
    b'{"inputs":[{"name":"x","name":"y","shape":[1],"datatype":"FP64","data":[1]}]}',
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1]}],"id":"1","id":"2"}',
    b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":['
    + b"1," * 100
    + b'1]}],"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":['
    + b"1," * 100
    + b"1]}]}",
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(errors.MalformedBody):
        read(raw)


TENSOR: dict[str, Any] = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}


@pytest.mark.parametrize(
    ("raw", "at"),
    [
        (b"[]", "body"),
        (b"{}", "inputs"),
        (body(inputs=[]), "inputs"),
        (body(inputs=[TENSOR] * 4097), "inputs"),
        (body(id=7), "id"),
        (body(inputs=[TENSOR], id="x" * 1025), "id"),
        (body(inputs=[TENSOR | {"shape": []}]), "inputs[0].shape"),
        (body(inputs=[TENSOR | {"shape": [1, 1, 2]}]), "inputs[0].shape"),
        (body(inputs=[TENSOR | {"shape": [0, 2]}]), "inputs[0].shape"),
        (body(inputs=[TENSOR | {"shape": [2**31]}]), "inputs[0].shape"),
        (body(inputs=[TENSOR | {"shape": 7}]), "inputs[0].shape"),
        (body(inputs=[TENSOR | {"data": 7}]), "inputs[0].data"),
        (body(inputs=[{"name": "x", "shape": [1], "datatype": "FP64"}]), "inputs[0].data"),
        (body(inputs=[TENSOR | {"name": "x" * 2000}]), "inputs[0].name"),
        (body(inputs=[TENSOR | {"datatype": "FP128"}]), "inputs[0].datatype"),
        (body(inputs=[TENSOR | {"datatype": ""}]), "inputs[0].datatype"),
        (body(inputs=[TENSOR | {"parameters": {"binary_data_size": 8}}]), "inputs[0].parameters.binary_data_size"),
        (
            body(inputs=[TENSOR | {"parameters": {"shared_memory_region": "x"}}]),
            "inputs[0].parameters.shared_memory_region",
        ),
        (body(outputs=[{"name": "other"}]), "outputs[0].name"),
        (body(outputs=[{"name": "predict"}, {"name": "predict"}]), "outputs[1].name"),
        (
            body(outputs=[{"name": "predict", "parameters": {"classification": 2}}]),
            "outputs[0].parameters.classification",
        ),
    ],
)
def test_a_wrong_shape_is_said_with_its_place(raw: bytes, at: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        read(raw)
    assert caught.value.errors[0].at == at


@pytest.mark.parametrize("size", [-1, 1.5, "8", True])
def test_a_binary_size_is_a_number_of_bytes(size: Any) -> None:
    tensor = {"name": "x", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": size}}
    raw = body(inputs=[tensor])
    with pytest.raises(errors.BadInput):
        read(raw + b"12345678", len(raw))


@pytest.mark.parametrize("length", [b"x", b"-1", b"99999", b"1" * 30, b""])
def test_the_length_of_the_json_has_to_be_one(length: bytes) -> None:
    with pytest.raises(errors.MalformedBody):
        reading.read(body(), length, 10)


def test_binary_data_has_to_add_up() -> None:
    with pytest.raises(errors.MalformedBody):
        read(body() + b"left over", len(body()))


def test_more_rows_than_allowed_are_refused() -> None:
    with pytest.raises(errors.TooLarge):
        read(body(inputs=[TENSOR | {"shape": [11, 2]}]))


ASKED = Asked(
    "m", 0, "champion", b"", True, 1, "tensors", (), (frames.Wanted("predict", "raw"), frames.Wanted("predict_proba"))
)
OUTPUTS = (frames.Output("predict", "INT64", (1,), 8), frames.Output("predict_proba", "FP64", (1, 2), 9))


def test_an_answer_has_its_binary_outputs_behind_its_json() -> None:
    answer = Answer(3, memoryview(b"\x01" + bytes(7) + b"[0.5,0.5]"), 0.0, 0.0, OUTPUTS)
    kind, raw, fields, _ = writing.answer(ASKED._replace(note='a"b'), answer)
    assert (kind, fields[0][0]) == (b"application/octet-stream", b"inference-header-content-length")
    length = int(fields[0][1])
    assert raw[length:] == b"\x01" + bytes(7)
    assert json.loads(raw[:length]) == {
        "model_name": "m",
        "model_version": "3",
        "id": 'a"b',
        "outputs": [
            {"name": "predict", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}},
            {"name": "predict_proba", "datatype": "FP64", "shape": [1, 2], "data": [0.5, 0.5]},
        ],
    }


def test_an_answer_that_is_another_is_our_defect() -> None:
    with pytest.raises(errors.InternalError):
        writing.answer(ASKED, Answer(3, memoryview(b"1"), 0.0, 0.0))


def test_an_error_is_one_sentence_and_tells_nothing_of_ours() -> None:
    places = [errors.FieldError(f"inputs[{at}]", "is wrong" + "!" * 300) for at in range(16)]
    kind, raw, *_ = writing.refusal(errors.BadInput("It is wrong.", errors=places, hint="Mend it."))
    assert kind == b"application/json"
    (said,) = json.loads(raw).values()
    assert said.startswith("It is wrong. inputs[0] is wrong!!!")
    assert len(raw) < 4096
    assert json.loads(writing.refusal(errors.ModelNotFound()).body) == {"error": "There is no model of this name."}
    assert "secret" not in writing.refusal(errors.InternalError("secret")).body.decode()
    form = infer.form_of(b"/v2/models/m/infer")
    assert form is not None
    assert form.status(errors.BadInput()) == 400
    assert form.status(errors.DeadlineExceeded()) == 504


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/v2/models/m/infer", "/v2/models/{model}/infer"),
        (b"/v2/models/m/versions/3/infer", "/v2/models/{model}/versions/{version}/infer"),
        (b"/v2/models/m%2D1/infer", "/v2/models/{model}/infer"),
        (b"/v2/models/m/infer/", None),
        (b"/v2/models/m/infer?x=1", None),
        (b"/v2/models/m/ready", None),
        (b"/v2/models//infer", None),
        (b"/v2", None),
    ],
)
def test_an_infer_call_is_known_by_its_path(path: bytes, route: str | None) -> None:
    form = infer.form_of(path)
    assert (form.route if form else None) == route


@pytest.mark.parametrize("path", [b"/v2/models/M%00/infer", b"/v2/models/\xff/infer", b"/v2/models/m%2Fx/infer"])
def test_a_name_that_cannot_be_is_not_found(path: bytes) -> None:
    form = infer.form_of(path)
    assert form is not None
    with pytest.raises(errors.ModelNotFound):
        form.check({})


@pytest.mark.parametrize("version", [b"0", b"007x%20", b"99999999999", b"%D9%A3", b"4294967296"])
def test_a_version_that_cannot_be_is_not_found(version: bytes) -> None:
    form = infer.form_of(b"/v2/models/m/versions/" + version + b"/infer")
    assert form is not None
    with pytest.raises(errors.VersionNotFound):
        form.check({})


def test_a_version_is_a_number_or_an_alias() -> None:
    for version, wanted in ((b"12", (12, "")), (b"canary", (0, "canary"))):
        form = infer.form_of(b"/v2/models/m/versions/" + version + b"/infer")
        assert form is not None
        assert form.read(body(), {}, 10)[1:3] == wanted
