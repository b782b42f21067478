"""Every protocol beside POST /predict refuses what it cannot answer, in its own form and never as a server error."""

from __future__ import annotations

import random

import httpx
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.acceptance.model_kinds import KINDS, TrainedKinds
from tests.acceptance.stack import Client, Json, Stack
from tests.acceptance.triton_tensors import grpc_tensors, http_tensors, keyed


@pytest.fixture(scope="module")
def trained(trained_kinds: TrainedKinds) -> Json:
    """A model of each kind that is asked here."""
    return trained_kinds.answers([kind for kind in KINDS if kind.name in ("names", "truth", "worth")])


def test_a_refusal_over_grpc_reads_as_one_in_tritonclient(
    trained: Json, grpc_server: triton_grpc.InferenceServerClient
) -> None:
    given = grpc_tensors(KINDS[0], KINDS[0].rows(2, 1), typed=False)
    for model, version, outputs, status, said in (
        ("unheard-of", "", None, "NOT_FOUND", "There is no model of this name."),
        ("names", "999", None, "NOT_FOUND", "The model has no such version."),
        (
            "names",
            "",
            [triton_grpc.InferRequestedOutput("other")],
            "INVALID_ARGUMENT",
            "must be predict or predict_proba",
        ),
        ("worth", "", [triton_grpc.InferRequestedOutput("predict_proba")], "INVALID_ARGUMENT", "no probabilities"),
        ("truth", "", None, "INVALID_ARGUMENT", "must be of BYTES"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            grpc_server.infer(model, given, version, outputs=outputs)
        assert (caught.value.status(), said in caught.value.message()) == (f"StatusCode.{status}", True), caught.value
    short = grpc_tensors(KINDS[0], KINDS[0].rows(2, 1), typed=False)
    short[0].set_shape([3, 5])
    with pytest.raises(InferenceServerException, match="must have 120 bytes"):
        grpc_server.infer("names", short)


def test_a_refusal_reads_as_one_in_tritonclient(
    stack: Stack, trained: Json, server: triton.InferenceServerClient
) -> None:
    given = http_tensors(KINDS[0], KINDS[0].rows(2, 1), binary=True)
    for model, version, outputs, status, said in (
        ("unheard-of", "", None, "404", "There is no model of this name."),
        ("names", "999", None, "404", "The model has no such version."),
        ("names", "", [triton.InferRequestedOutput("other")], "400", "must be predict or predict_proba"),
        ("worth", "", [triton.InferRequestedOutput("predict_proba")], "400", "no probabilities"),
        ("truth", "", None, "400", "must be of BYTES"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            server.infer(model, given, version, outputs=outputs, headers=keyed(stack))
        assert (caught.value.status(), said in caught.value.message()) == (status, True), caught.value


JSON = {"Content-Type": "application/json"}
CALLS = [
    ("/v2/models/{}/infer", "error"),
    ("/v1/models/{}:predict", "error"),
    ("/mlflow/{}/invocations", "message"),
]
JUNK = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"\xff\xfe",
    b'{"inputs":[]}',
    b'{"inputs":{}}',
    b'{"inputs":{"n0":[]}}',
    b'{"inputs":{"n0":[[]]}}',
    b'{"inputs":{"n0":[{}]}}',
    b'{"inputs":{"n0":[1,[2]]}}',
    b'{"inputs":{"n0":[1],"n0":[2]}}',
    b'{"inputs":[[1,2],[3]]}',
    b'{"inputs":[{"name":"x"}]}',
    b'{"inputs":[{"name":"x","shape":[1,5],"datatype":"FP64","data":[1,2,3,4,"5"]}]}',
    b'{"inputs":[{"name":"x","shape":[1,5],"datatype":"FP64","data":[1,2,3,4]}]}',
    b'{"inputs":[{"name":"x","shape":[99999999,5],"datatype":"FP64","data":[1,2,3,4,5]}]}',
    b'{"inputs":[{"name":"x","shape":[1,5],"datatype":"FP64","data":[1,2,3,4,5],"parameters":{"binary_data_size":1}}]}',
    b'{"inputs":[{"name":"x","shape":[1,5],"datatype":"FP64","parameters":{"binary_data_size":40}}]}',
    b'{"inputs":[{"name":"x","shape":[1,5],"datatype":"FP64","data":[1e999,2,3,4,5]}]}',
    b'{"instances":[]}',
    b'{"instances":[[]]}',
    b'{"instances":[{}],"inputs":[[1]]}',
    b'{"instances":[{"nobody":1}]}',
    b'{"instances":' + b"[" * 5_000,
    b'{"instances":[[NaN,1,2,3,4]]}',
    b'{"dataframe_split":[]}',
    b'{"dataframe_split":{"columns":["n0"]}}',
    b'{"dataframe_split":{"columns":["n0","n0"],"data":[[1,2]]}}',
    b'{"dataframe_split":{"columns":["zz"],"data":[[1]]}}',
    b'{"dataframe_split":{"columns":["n1","n0"],"data":[[1]]}}',
    b'{"dataframe_split":{"columns":["n1","n0"],"data":[7]}}',
    b'{"dataframe_records":{"n0":1}}',
    b'{"signature_name":"other","instances":[[1,2,3,4,5]]}',
]


@pytest.mark.parametrize(("path", "key"), CALLS)
@pytest.mark.parametrize("body", JUNK, ids=range(len(JUNK)))
def test_junk_is_refused_in_the_protocols_own_form(
    client: Client, trained: Json, path: str, key: str, body: bytes
) -> None:
    answer = client.http.post(path.format("names"), content=body, headers=JSON)
    # What is junk to one protocol may be a request of another: columns that are not sent are missing.
    assert answer.status_code in (200, 400, 413), answer.text
    assert answer.status_code != 200 or body in (b'{"inputs":{"n0":[{}]}}',) or b"n0" in body or b"[[" in body
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/json"
        assert isinstance(answer.json()[key], str)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"n0\n",
        b"\xff\n1\n",
        b"n0,n0\n1,2\n",
        b"zz\n1\n",
        b"n0,n1\n1\n",
        b'n0\n"1\n',
        b"n0\nx\n",
        b"n0\n" + b"1\n" * 10_001,
    ],
    ids=range(9),
)
def test_junk_in_csv_is_refused(client: Client, trained: Json, body: bytes) -> None:
    answer = client.http.post("/mlflow/names/invocations", content=body, headers={"Content-Type": "text/csv"})
    assert answer.status_code in (400, 413), answer.text
    assert set(answer.json()) == {"error_code", "message"}


@pytest.mark.parametrize(("path", "key"), CALLS)
def test_random_bytes_never_make_a_server_error(client: Client, trained: Json, path: str, key: str) -> None:
    draw = random.Random(path)
    rows = KINDS[0].rows(2, 1)
    for good in (
        httpx.Request("POST", "http://x", json={"instances": rows}).content,
        httpx.Request(
            "POST", "http://x", json={"inputs": [{"name": "x", "shape": [2, 5], "datatype": "FP64", "data": rows}]}
        ).content,
    ):
        for _ in range(150):
            broken = bytearray(good)
            for _ in range(draw.randint(1, 4)):
                at = draw.randrange(len(broken))
                broken[at : at + draw.randint(0, 3)] = bytes(draw.choices(b'[]{},:"0.-eN\\ \xff', k=draw.randint(0, 3)))
            length = {"Inference-Header-Content-Length": str(draw.randrange(len(broken) + 9))}
            answer = client.http.post(
                path.format("names"), content=bytes(broken), headers=JSON | (length if draw.random() < 0.2 else {})
            )
            assert answer.status_code in (200, 400, 413), (answer.text, bytes(broken))
            assert answer.status_code == 200 or isinstance(answer.json()[key], str)


def test_what_is_not_there_is_said_in_the_protocols_own_form(client: Client, trained: Json) -> None:
    for method, path, status in (
        ("GET", "/v2/models/unheard-of", 404),
        ("GET", "/v2/models/names/versions/999", 404),
        ("GET", "/v2/models/names/versions/0", 404),
        ("GET", "/v2/models/UPPER/ready", 404),
        ("GET", "/v2/models/unheard-of/stats", 404),
        ("GET", "/v2/models/names/versions/999/stats", 404),
        ("GET", "/v2/models/names/infer", 405),
        ("POST", "/v2/models/unheard-of/infer", 404),
        ("POST", "/v2/repository/models/names/load", 404),
        ("GET", "/v2/", 404),
        ("GET", "/v1/models/unheard-of", 404),
        ("GET", "/v1/models/names/versions/999", 404),
        ("GET", "/v1/models/names/versions/champion", 404),
        ("GET", "/v1/models/names/labels/1", 404),
        ("GET", "/v1/models/names/labels/beta/metadata", 404),
        ("POST", "/v1/models/names/labels/beta:predict", 404),
        ("POST", "/v1/models/names:classify", 405),
    ):
        body = {"instances": [[1] * 5], "inputs": [{"name": "n0", "shape": [1], "datatype": "FP64", "data": [1]}]}
        if method == "POST" and ":" in path:
            body.pop("inputs")
        answer = client.http.request(method, path, json=body if method == "POST" else None)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        assert list(answer.json()) == ["error"], path
    for method, path, status, code in (
        ("GET", "/mlflow/unheard-of/ping", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "/mlflow/unheard-of/health", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("GET", "/mlflow/names/invocations", 405, "BAD_REQUEST"),
        ("POST", "/mlflow/unheard-of/invocations", 404, "RESOURCE_DOES_NOT_EXIST"),
    ):
        answer = client.http.request(method, path, json={"instances": [[1] * 5]} if method == "POST" else None)
        assert (answer.status_code, answer.json()["error_code"]) == (status, code), path
    plain = client.http.post("/mlflow/names/invocations", content=b"x", headers={"Content-Type": "text/plain"})
    assert (plain.status_code, plain.json()["error_code"]) == (415, "BAD_REQUEST")


def test_deadlines_and_limits_hold_in_every_protocol(client: Client, trained: Json) -> None:
    many = {"instances": [[0.5] * 5] * 10_001}
    for path, body in (
        ("/v1/models/names:predict", many),
        ("/mlflow/names/invocations", many),
        ("/v2/models/names/infer", {"inputs": [{"name": "x", "shape": [10_001, 5], "datatype": "FP64", "data": [1]}]}),
    ):
        answer = client.http.post(path, json=body)
        assert answer.status_code == 413, path
        late = client.http.post(path, json={"instances": [[1]]}, headers={"X-Request-Timeout-Ms": "never"})
        assert late.status_code == 400, path
