"""The forms of the other protocols: rows pass undecoded, answers and errors are each protocol's own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api import protocols, refusals
from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.predict.forms import Form
from api.predict.native import NATIVE
from api.protocols.mlflow import invocations
from api.protocols.tf_serving import predict
from wire import errors, frames

JSON = {b"content-type": b"application/json"}
CSV = {b"content-type": b"text/csv; header=present; charset=UTF-8"}


def form(path: bytes) -> Form:
    found = protocols.form_of(path)
    assert found is not None
    return found


SERVING = form(b"/v1/models/m:predict")
MLFLOW = form(b"/mlflow/m/invocations")


def read(one: Form, body: Any, headers: dict[bytes, bytes] = JSON) -> Asked:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    one.check(headers)
    return one.read(raw, headers, 10)


def answered(one: Form, asked: Asked) -> Any:
    kind, body, *_ = one.answer(asked, Answer(3, memoryview(b'"predictions":[1,2]'), 0.0, 0.0), "r")
    assert kind == b"application/json"
    return json.loads(body)


# ---------------------------------------------------------------------- the table


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/predict", "/predict"),
        (b"/v1/models/m:predict", "/v1/models/{model}:predict"),
        (b"/v1/models/m/versions/3:predict", "/v1/models/{model}/versions/{version}:predict"),
        (b"/v1/models/m/labels/beta:predict", "/v1/models/{model}/labels/{label}:predict"),
        (b"/mlflow/m/invocations", "/mlflow/{model}/invocations"),
        (b"/v1/models/m", None),
        (b"/v1/models/m:classify", None),
        (b"/v1/models/m/other/3:predict", None),
        (b"/v1/models/m:predict?x=1", None),
        (b"/mlflow/m/n/invocations", None),
        (b"/mlflow/m/ping", None),
        (b"/models/m", None),
    ],
)
def test_a_prediction_is_known_by_its_path(path: bytes, route: str | None) -> None:
    found = protocols.form_of(path)
    assert (found.route if found else None) == route


def test_every_protocol_has_paths_of_its_own() -> None:
    prefixes = [protocol.prefix for protocol in protocols.PROTOCOLS]
    assert not [one for one in prefixes for other in prefixes if one != other and one.startswith(other)]
    for protocol in protocols.PROTOCOLS:
        paths = [*protocol.described(), *(route.path for route in protocol.router.routes)]  # type: ignore[attr-defined]
        assert paths
        assert all(path.startswith(protocol.prefix) for path in paths)


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v2", {"error"}),
        ("/v2/models/m", {"error"}),
        ("/v1/models/m", {"error"}),
        ("/mlflow/m/ping", {"error_code", "message"}),
        ("/v2x", {"type", "title", "status", "detail", "code", "request_id", "errors"}),
        ("/predict", {"type", "title", "status", "detail", "code", "request_id", "errors"}),
    ],
)
def test_an_error_has_the_form_of_its_path(path: str, members: set[str]) -> None:
    error = errors.BadInput(errors=[errors.FieldError("x", "is wrong")])
    answer = protocols.respond(error, "r", path)
    assert json.loads(bytes(answer.body)).keys() == members
    assert answer.status_code == (422 if "code" in members else 400)


# ---------------------------------------------------------------------- TensorFlow Serving


def test_instances_travel_as_rows_and_inputs_as_columns() -> None:
    asked = read(SERVING, b'{"instances": [[1, 2.50]] }', {})
    assert (bytes(asked.instances), asked.encoding, asked.alias) == (b"[[1, 2.50]]", "json", "champion")
    assert answered(SERVING, asked) == {"predictions": [1, 2]}
    asked = read(SERVING, b'{"signature_name":"serving_default","inputs":{"a":[1, 2],"b":[["x"],[null]]}}')
    assert (bytes(asked.instances), asked.encoding) == (b'[1, 2][["x"],[null]]', "tensors")
    assert asked.tensors == (frames.Tensor("a", "", (), 6), frames.Tensor("b", "", (), 14))
    assert asked.rows_bound >= 2
    assert answered(SERVING, asked) == {"outputs": [1, 2]}
    assert read(SERVING, {"inputs": [[1, 2]]}).encoding == "json"


def test_a_version_or_a_label_is_asked_for_by_its_path() -> None:
    assert read(form(b"/v1/models/m/versions/12:predict"), {"instances": [[1]]})[1:3] == (12, "")
    assert read(form(b"/v1/models/m/labels/beta:predict"), {"instances": [[1]]})[1:3] == (0, "beta")
    with pytest.raises(errors.VersionNotFound):
        form(b"/v1/models/m/versions/beta:predict").check({})
    with pytest.raises(errors.AliasNotFound):
        form(b"/v1/models/m/labels/12:predict").check({})
    with pytest.raises(errors.ModelNotFound):
        form(b"/v1/models/M:predict").check({})


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "body"),
        ([], "body"),
        ({"instances": [[1]], "inputs": [[1]]}, "body"),
        ({"instances": {}}, "instances"),
        ({"instances": 1}, "instances"),
        ({"inputs": 1}, "inputs"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": {"a": 1}}, "inputs"),
        ({"instances": [[1]], "signature_name": "other"}, "signature_name"),
        ({"instances": [[1]], "signature_name": 1}, "signature_name"),
    ],
)
def test_what_is_wrong_with_a_serving_request_is_said_with_its_place(body: Any, at: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        read(SERVING, body)
    assert caught.value.errors[0].at == at


@pytest.mark.parametrize("names", [[f"c{at}" for at in range(4097)], ["x" * 1025], ["x" * 1025, "y"]])
@pytest.mark.parametrize("one", [SERVING, MLFLOW], ids=["serving", "mlflow"])
def test_no_request_has_more_names_or_longer_ones_than_columns_can_be(one: Form, names: list[str]) -> None:
    with pytest.raises(errors.BadInput, match="shape") as caught:
        read(one, {"inputs": {name: [1] for name in names}})
    assert caught.value.errors[0].at == "inputs"
    fewer = {name[:1024]: [1] for name in names[:4096]}
    assert len(read(one, {"inputs": fewer}).tensors) == len(fewer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"instances":[[NaN]]}',
        b'{"instances":[[1]],"instances":[[1]]}',
        b'{"inputs":{"a":[1],"a":[1]}}',
        b'{"inputs":{"a":[' + b"1," * 99 + b'1],"a":[2]}}',
        b'{"inputs":{"a":[' + b"1," * 99 + b'1],"b":[' + b"2," * 99 + b'2],"a":[' + b"3," * 99 + b"3]}}",
        b'{"instances":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"instances":[["\xff"]]}',
    ],
)
@pytest.mark.parametrize("one", [SERVING, MLFLOW], ids=["serving", "mlflow"])
def test_what_is_no_json_is_malformed(one: Form, body: bytes) -> None:
    with pytest.raises(errors.MalformedBody):
        read(one, body)


def test_a_content_type_may_be_absent_but_not_another() -> None:
    SERVING.check({})
    for headers in ({b"content-type": b"text/plain"}, {b"content-encoding": b"gzip"}):
        with pytest.raises(refusals.UnsupportedMedia):
            SERVING.check(headers)
    with pytest.raises(refusals.UnsupportedMedia):
        form(b"/v2/models/m/infer").check({b"content-encoding": b"gzip"})


# ---------------------------------------------------------------------- MLflow


def test_every_form_of_a_table_travels_as_it_came() -> None:
    for member in ("instances", "dataframe_records", "inputs"):
        asked = read(MLFLOW, {member: [{"a": 1}], "params": {"x": 1}})
        assert (asked.encoding, bytes(asked.instances)) == ("json", b'[{"a": 1}]'), member
        assert answered(MLFLOW, asked) == {"predictions": [1, 2]}
    assert read(MLFLOW, {"inputs": {"a": [1]}}).encoding == "tensors"
    for table in (
        b'{"columns":["a"],"index":[0,1],"data":[[1],[2]]}',
        b'{"index":[' + b"1," * 99 + b'1],"data":[[' + b"1," * 99 + b'1]],"columns":["a"]}',
    ):
        asked = read(MLFLOW, b'{"dataframe_split":' + table + b"}")
        assert (asked.encoding, bytes(asked.instances)) == ("split", table)
    asked = read(MLFLOW, b"a,b\n1,2\n", CSV)
    assert (asked.encoding, bytes(asked.instances)) == ("csv", b"a,b\n1,2\n")
    assert asked.rows_bound >= 1
    assert (MLFLOW.json_bytes(100, JSON), MLFLOW.json_bytes(100, CSV)) == (100, 0)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "body"),
        ([[1]], "body"),
        ({"instances": [[1]], "inputs": [[1]]}, "body"),
        ({"dataframe_records": {}}, "dataframe_records"),
        ({"dataframe_split": []}, "body"),
        ({"dataframe_split": {"columns": ["a"]}}, "data"),
        ({"dataframe_split": {"columns": ["a"], "data": 1}}, "dataframe_split.data"),
        ({"instances": [[1]], "params": 1}, "params"),
    ],
)
def test_what_is_wrong_with_an_invocation_is_said_with_its_place(body: Any, at: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        read(MLFLOW, body)
    assert caught.value.errors[0].at == at


@pytest.mark.parametrize(
    "body",
    [
        b'{"dataframe_split":{"columns":["a"],"columns":["b"],"data":[[1]]}}',
        b'{"dataframe_split":{"columns":["a"],"data":[[1]]},"dataframe_split":{"columns":["a"],"data":[[1]]}}',
    ],
)
def test_a_split_table_has_its_parts_once(body: bytes) -> None:
    with pytest.raises(errors.MalformedBody):
        read(MLFLOW, body)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/json; charset=latin-1"},
        {b"content-type": b"text/csv", b"content-encoding": b"gzip"},
    ],
)
def test_other_content_types_are_refused(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(refusals.UnsupportedMedia):
        MLFLOW.check(headers)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.BadInput(), 400, "INVALID_PARAMETER_VALUE"),
        (errors.MalformedBody(), 400, "BAD_REQUEST"),
        (errors.ModelNotFound(), 404, "RESOURCE_DOES_NOT_EXIST"),
        (errors.Overloaded(), 429, "REQUEST_LIMIT_EXCEEDED"),
        (errors.DeadlineExceeded(), 504, "DEADLINE_EXCEEDED"),
        (refusals.UnsupportedMedia(), 415, "BAD_REQUEST"),
    ],
)
def test_mlflow_has_codes_of_its_own(error: errors.WarrenError, status: int, code: str) -> None:
    assert MLFLOW.status(error) == status
    kind, body, *_ = MLFLOW.refusal(error, "r")
    assert json.loads(body) == {"error_code": code, "message": error.message}
    assert kind == b"application/json"


@pytest.mark.parametrize("one", [SERVING, MLFLOW, form(b"/v2/models/m/infer")], ids=["v1", "mlflow", "v2"])
def test_no_refusal_tells_a_detail_of_ours(one: Form) -> None:
    assert b"secret" not in one.refusal(errors.InternalError("secret"), "r").body


@pytest.mark.parametrize("one", [SERVING, MLFLOW, form(b"/v2/models/m/infer")], ids=["v1", "mlflow", "v2"])
@pytest.mark.parametrize("wide", ["列", '"', "\x01", "\U0001f407"], ids=["chinese", "quote", "control", "emoji"])
def test_no_refusal_is_over_4_kb_whatever_its_characters(one: Form, wide: str) -> None:
    places = [errors.FieldError(f"inputs[{at}].name", wide * 240) for at in range(16)]
    body = one.refusal(errors.BadInput("It is wrong.", errors=places, hint="Mend it."), "r").body
    assert len(body) <= 4096
    said = json.loads(body).get("error") or json.loads(body)["message"]
    assert said.startswith(f"It is wrong. inputs[0].name {wide * 240}")
    assert said.endswith(f"{wide}. Mend it."), "what is left out are whole places"
    widest = errors.BadInput(wide * 5000, errors=[errors.FieldError(wide * 500, wide * 500)] * 16, hint=wide * 5000)
    body = one.refusal(widest, "r").body
    assert len(body) <= 4096
    assert wide * 512 in (json.loads(body).get("error") or json.loads(body)["message"])


# ---------------------------------------------------------------------- the native one


def test_the_native_form_is_that_of_predict() -> None:
    asked = read(NATIVE, {"model": "m", "instances": [[1]]})
    assert answered(NATIVE, asked) == {"model": "m", "version": 3, "predictions": [1, 2], "request_id": "r"}
    assert predict.SIGNATURE == "serving_default"
    assert invocations.CSV == "text/csv"
