"""Every protocol beside POST /predict, with real clients on a real stack: the same rows, the same numbers."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.acceptance.stack import Client, Json, Stack
from tests.source_tree import CHECKOUT

ROWS = 1_000
Row = list[Any]


@dataclass(frozen=True)
class Kind:
    """A kind of model: its columns by type, its target, and what is trained."""

    name: str
    types: dict[str, str]
    target: Callable[[random.Random, float], Any]
    estimator: str
    probabilities: bool = True
    params: dict[str, int] = field(default_factory=dict)

    def rows(self, count: int, seed: int) -> list[Row]:
        draw = random.Random(f"{self.name}{seed}")
        return [[_cell(draw, kind, self.mixed) for kind in self.types.values()] for _ in range(count)]

    def table(self) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow([*self.types, "y"])
        draw = random.Random(self.name)
        for row in self.rows(300, 0):
            signal = sum(cell for cell in row if isinstance(cell, float)) + draw.gauss(0, 0.5)
            cells = ["true" if cell is True else "false" if cell is False else cell for cell in row]
            writer.writerow([*cells, self.target(draw, signal)])
        return out.getvalue().encode()

    @property
    def mixed(self) -> bool:
        return set(self.types.values()) != {"number"}


def _cell(draw: random.Random, kind: str, gaps: bool) -> Any:
    if gaps and draw.random() < 0.1:
        return None
    if kind == "number":
        return draw.gauss(0, 1)
    if kind == "text":
        return draw.choice(["Graz", "Genève", "Lyon", "São Paulo, BR", 'the "old" town'])
    if kind == "boolean":
        return draw.random() < 0.5
    return f"2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"


NUMBERS = {f"n{at}": "number" for at in range(5)}
MIXED = {"age": "number", "city": "text", "member": "boolean", "since": "date", "spent": "number"}
KINDS = [
    Kind("names", NUMBERS, lambda _draw, signal: "yés" if signal > 0 else "no", "LogisticRegression"),
    Kind(
        "codes",
        NUMBERS,
        lambda _draw, signal: 7 if signal > 0 else 3,
        "RandomForestClassifier",
        params={"n_estimators": 20},
    ),
    Kind("truth", MIXED, lambda _draw, signal: signal > 0, "HistGradientBoostingClassifier", params={"max_iter": 20}),
    Kind("blend", MIXED, lambda _draw, signal: "high" if signal > 0 else "low", "LogisticRegression"),
    Kind("worth", NUMBERS, lambda _draw, signal: round(signal * 100, 3), "Ridge", probabilities=False),
    Kind("price", MIXED, lambda _draw, signal: round(signal, 3), "GradientBoostingRegressor", probabilities=False),
    Kind("near", MIXED, lambda _draw, signal: "far" if signal > 0 else "near", "KNeighborsClassifier"),
]


@pytest.fixture(scope="module")
def trained(stack: Stack) -> Iterator[Json]:
    """One model of each kind; the answers of POST /predict to its rows."""
    with Client(stack.url, stack.key) as client:
        jobs = {}
        for kind in KINDS:
            dataset = {"id": client.upload(kind.table())["dataset_id"]}
            how = {"estimator": kind.estimator, "params": kind.params}
            jobs[kind.name] = client.train(model=kind.name, dataset=dataset, target="y", **how)
        for name, job in jobs.items():
            assert client.finished(job)["status"] == "succeeded", name
        yield {kind.name: _predicted(client, kind) for kind in KINDS}


def _predicted(client: Client, kind: Kind) -> Json:
    headers = {"X-Request-Timeout-Ms": "20000"}
    body = {"model": kind.name, "instances": kind.rows(ROWS, 1), "probabilities": kind.probabilities}
    answer: Json = client.call("POST", "/predict", 200, json=body, headers=headers)
    return answer


@pytest.fixture(scope="module")
def server(stack: Stack) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(stack.url.removeprefix("http://"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def grpc_server(stack: Stack) -> Iterator[triton_grpc.InferenceServerClient]:
    client = triton_grpc.InferenceServerClient(stack.grpc)
    yield client
    client.close()


def keyed(stack: Stack) -> dict[str, str]:
    patient = {"X-Request-Timeout-Ms": "20000"}
    return patient | ({"Authorization": f"Bearer {stack.key}"} if stack.key else {})


def close(one: Any, other: Any) -> bool:
    """Equal labels, or numbers within 1e-9."""
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other) and type(one) is type(other)


def assert_same(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    wrong = [at for at, (one, other) in enumerate(zip(found, expected, strict=True)) if not close(one, other)]
    assert not wrong, f"{len(wrong)} of {len(expected)} differ, the first: {found[wrong[0]]} {expected[wrong[0]]}"


def column(kind: Kind, rows: list[Row], name: str) -> tuple[str, Any]:
    """A column as tritonclient takes it: datatype and array."""
    cells = [row[list(kind.types).index(name)] for row in rows]
    if kind.types[name] in ("text", "date"):
        return "BYTES", np.array([(cell or "").encode() for cell in cells], dtype=object)
    if kind.types[name] == "boolean" and None not in cells:
        return "BOOL", np.array(cells)
    return "FP64", np.array(cells, dtype=np.float64)


def tensors(kind: Kind, rows: list[Row], binary: bool) -> list[triton.InferInput]:
    if not kind.mixed:
        table = np.array(rows)
        one = triton.InferInput("x", table.shape, "FP64")
        return [one.set_data_from_numpy(table, binary_data=binary)]
    found = []
    for name in reversed(list(kind.types)):
        datatype, values = column(kind, rows, name)
        one = triton.InferInput(name, [len(rows), 1], datatype)
        if not binary and datatype == "FP64" and np.isnan(values).any():
            # JSON has no NaN; tritonclient would write it all the same.
            one.set_data_from_numpy(values.reshape(-1, 1), binary_data=True)
        else:
            one.set_data_from_numpy(values.reshape(-1, 1), binary_data=binary)
        found.append(one)
    return found


def labels(answer: triton.InferResult, name: str = "predict") -> list[Any]:
    return [each.decode() if isinstance(each, bytes) else each for each in answer.as_numpy(name).tolist()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_tritonclient_gets_the_same_from_every_kind_of_model(
    stack: Stack, trained: Json, server: triton.InferenceServerClient, kind: Kind, binary: bool
) -> None:
    expected = trained[kind.name]
    names = ["predict", "predict_proba"] if kind.probabilities else ["predict"]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    given = tensors(kind, kind.rows(ROWS, 1), binary)
    answer = server.infer(
        kind.name, given, str(expected["version"]), outputs=outputs, headers=keyed(stack), request_id="42"
    )
    assert (answer.get_response()["id"], answer.get_response()["model_version"]) == ("42", str(expected["version"]))
    assert_same(labels(answer), expected["predictions"])
    if kind.probabilities:
        shares = answer.as_numpy("predict_proba")
        assert shares.shape == np.array(expected["probabilities"]).shape
        assert np.abs(shares - np.array(expected["probabilities"])).max() < 1e-9


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_tritonclient_gets_the_same_over_grpc(
    trained: Json, grpc_server: triton_grpc.InferenceServerClient, kind: Kind, typed: bool
) -> None:
    expected, rows = trained[kind.name], kind.rows(ROWS, 1)
    names = ["predict", "predict_proba"] if kind.probabilities else ["predict"]
    outputs = [triton_grpc.InferRequestedOutput(name) for name in names]
    given = grpc_tensors(kind, rows, typed)
    answer = grpc_server.infer(
        kind.name, given, str(expected["version"]), outputs=outputs, request_id="42", client_timeout=20
    )
    told = answer.get_response()
    assert (told.id, told.model_version) == ("42", str(expected["version"]))
    assert bool(told.raw_output_contents) is not typed
    assert_same(
        [one.decode() if isinstance(one, bytes) else one for one in grpc_values(answer, "predict").tolist()],
        expected["predictions"],
    )
    if kind.probabilities:
        shares = grpc_values(answer, "predict_proba")
        assert shares.shape == np.array(expected["probabilities"]).shape
        assert np.abs(shares - np.array(expected["probabilities"])).max() < 1e-9


def grpc_values(answer: triton_grpc.InferResult, name: str) -> Any:
    """An output as an array; of typed ones tritonclient reads no numbers, as it sends none."""
    told = answer.get_response()
    if told.raw_output_contents:
        return answer.as_numpy(name)
    (output,) = (one for one in told.outputs if one.name == name)
    ((_, values),) = output.contents.ListFields()
    return np.array(list(values), dtype=object if output.datatype == "BYTES" else None).reshape(list(output.shape))


CONTENTS = {"FP64": "fp64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}


def grpc_tensors(kind: Kind, rows: list[Row], typed: bool) -> list[triton_grpc.InferInput]:
    """The same columns as gRPC's client takes them; typed is what it has no call for, but the protocol has."""
    columns = [(name, *column(kind, rows, name)) for name in reversed(list(kind.types))]
    arrays = [(name, datatype, values.reshape(-1, 1)) for name, datatype, values in columns]
    if not kind.mixed:
        arrays = [("x", "FP64", np.array(rows))]
    found = []
    for name, datatype, values in arrays:
        one = triton_grpc.InferInput(name, values.shape, datatype)
        if typed:
            getattr(one._get_tensor().contents, CONTENTS[datatype]).extend(values.flatten().tolist())
        else:
            one.set_data_from_numpy(values)
        found.append(one)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_metadata_over_grpc_is_that_over_http(
    stack: Stack,
    trained: Json,
    server: triton.InferenceServerClient,
    grpc_server: triton_grpc.InferenceServerClient,
    kind: Kind,
) -> None:
    told = grpc_server.get_model_metadata(kind.name)
    expected = server.get_model_metadata(kind.name, headers=keyed(stack))
    assert (told.name, list(told.versions), told.platform) == tuple(
        expected[name] for name in ("name", "versions", "platform")
    )
    for tensors, others in ((told.inputs, expected["inputs"]), (told.outputs, expected["outputs"])):
        assert [(one.name, one.datatype, list(one.shape)) for one in tensors] == [
            (one["name"], one["datatype"], one["shape"]) for one in others
        ]
    assert grpc_server.is_model_ready(kind.name, str(trained[kind.name]["version"]))


def test_tritonclient_over_grpc_sees_what_is_there(
    trained: Json, grpc_server: triton_grpc.InferenceServerClient
) -> None:
    assert grpc_server.is_server_live()
    assert grpc_server.is_server_ready()
    assert grpc_server.get_server_metadata().name == "warren"
    version = str(trained["names"]["version"])
    index = {one.name: one for one in grpc_server.get_model_repository_index().models}
    assert index.keys() >= {kind.name for kind in KINDS}
    assert (index["names"].version, index["names"].state, index["names"].reason) == (version, "READY", "")
    asked = 0
    while not asked:  # of the two replicas, the one that answered
        given = grpc_tensors(KINDS[0], KINDS[0].rows(2, 1), typed=False)
        grpc_server.infer("names", given, version)
        (told,) = grpc_server.get_inference_statistics("names", version).model_stats
        asked = told.inference_stats.success.count
    assert (told.name, told.version) == ("names", version)
    assert told.inference_count >= 2 * asked
    assert told.inference_stats.success.ns > told.inference_stats.compute_infer.ns > 0
    assert told.last_inference > 1.7e12
    everything = grpc_server.get_inference_statistics().model_stats
    assert ("names", version) in [(one.name, one.version) for one in everything]
    with pytest.raises(InferenceServerException, match="no such version"):
        grpc_server.get_inference_statistics("names", "999")


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


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_metadata_is_enough_to_ask(
    stack: Stack, trained: Json, server: triton.InferenceServerClient, kind: Kind
) -> None:
    told = server.get_model_metadata(kind.name, headers=keyed(stack))
    assert told["name"] == kind.name
    assert str(trained[kind.name]["version"]) in told["versions"]
    names = ["x"] if not kind.mixed else list(kind.types)
    assert [one["name"] for one in told["inputs"]] == names
    assert [one["name"] for one in told["outputs"]] == ["predict", "predict_proba"][: 1 + kind.probabilities]
    if kind.mixed:
        wanted = {"number": "FP64", "text": "BYTES", "boolean": "BOOL", "date": "BYTES"}
        assert [one["datatype"] for one in told["inputs"]] == [wanted[each] for each in kind.types.values()]
    given = tensors(kind, kind.rows(3, 2), binary=True)
    answer = server.infer(kind.name, given, headers=keyed(stack))
    (predict, *_) = told["outputs"]
    assert answer.get_output("predict")["datatype"] == predict["datatype"]
    assert server.is_model_ready(kind.name, headers=keyed(stack))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_form_of_the_other_protocols_gives_the_same(client: Client, trained: Json, kind: Kind) -> None:
    expected, rows = trained[kind.name]["predictions"], kind.rows(ROWS, 1)
    names, headers = list(kind.types), {"X-Request-Timeout-Ms": "20000"}
    named = [dict(zip(names, row, strict=True)) for row in rows]
    by_column = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    turned = {"columns": names[::-1], "index": list(range(ROWS)), "data": [row[::-1] for row in rows]}

    def ask(path: str, member: str, **given: Any) -> list[Any]:
        told: Json = client.call("POST", path, 200, headers=headers | given.pop("headers", {}), **given)
        assert list(told) == [member]
        found: list[Any] = told[member]
        return found

    serving = f"/v1/models/{kind.name}"
    assert_same(ask(f"{serving}:predict", "predictions", json={"instances": rows}), expected)
    version = trained[kind.name]["version"]
    assert_same(ask(f"{serving}/versions/{version}:predict", "predictions", json={"instances": named}), expected)
    assert_same(ask(f"{serving}/labels/champion:predict", "outputs", json={"inputs": by_column}), expected)
    assert_same(ask(f"{serving}:predict", "outputs", json={"inputs": rows}), expected)
    path = f"/mlflow/{kind.name}/invocations"
    split = {"columns": names, "data": rows}
    for body in (
        {"dataframe_split": split},
        {"dataframe_split": turned},
        {"dataframe_records": named},
        {"instances": rows},
        {"inputs": by_column, "params": {"unused": 1}},
    ):
        assert_same(ask(path, "predictions", json=body), expected)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(names)
    writer.writerows([[str(cell).lower() if isinstance(cell, bool) else cell for cell in row] for row in rows])
    kind_of = {"Content-Type": "text/csv; charset=utf-8"}
    assert_same(ask(path, "predictions", content=table.getvalue().encode(), headers=kind_of), expected)


def test_tritonclient_sees_what_is_served(stack: Stack, trained: Json, server: triton.InferenceServerClient) -> None:
    headers = keyed(stack)
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.get_server_metadata()["extensions"] == ["binary_tensor_data", "model_repository", "statistics"]
    index = {one["name"]: one for one in server.get_model_repository_index(headers=headers)}
    version = str(trained["names"]["version"])
    assert index["names"] == {"name": "names", "version": version, "state": "READY", "reason": ""}
    (told,) = server.get_inference_statistics("names", version, headers=headers)["model_stats"]
    assert (told["name"], told["version"]) == ("names", version)
    assert told["inference_stats"].keys() >= {"success", "fail", "queue", "compute_input", "compute_infer"}
    assert not server.is_model_ready("unheard-of", headers=headers)
    assert not server.is_model_ready("names", "999", headers=headers)


def counted(client: Client, path: str) -> dict[str, int]:
    """The sums over all replicas that answer there: past Nginx one, behind it each of them in turn."""
    seen = {}
    for _ in range(12):
        (told,) = client.call("GET", path, 200)["model_stats"]
        stats = told["inference_stats"]
        seen[told["last_inference"], told["inference_count"]] = {
            "rows": told["inference_count"],
            "batches": told["execution_count"],
            "success": stats["success"]["count"],
            "success_ns": stats["success"]["ns"],
            "fail": stats["fail"]["count"],
        }
    return {name: sum(one[name] for one in seen.values()) for name in next(iter(seen.values()))}


def test_statistics_count_what_a_replica_answered(replicas: list[Client], trained: Json) -> None:
    rows = KINDS[0].rows(4, 3)
    body: Json = {"inputs": [{"name": "x", "shape": [4, 5], "datatype": "FP64", "data": rows}]}
    client = replicas[0]
    client.call("POST", "/v2/models/names/infer", 200, json=body)
    path = f"/v2/models/names/versions/{trained['names']['version']}/stats"
    before = counted(client, path)
    for _ in range(3):
        client.call("POST", "/v2/models/names/infer", 200, json=body)
    client.call("POST", "/v2/models/names/infer", 400, json=body | {"outputs": [{"name": "other"}]})
    body["inputs"][0]["datatype"] = "BYTES"
    client.call("POST", "/v2/models/names/infer", 400, json=body)
    after = counted(client, path)
    assert {name: after[name] - before[name] for name in ("rows", "batches", "success", "fail")} == {
        "rows": 12,
        "batches": 3,
        "success": 3,
        "fail": 1,
    }
    assert after["success_ns"] > before["success_ns"]


def test_a_refusal_reads_as_one_in_tritonclient(
    stack: Stack, trained: Json, server: triton.InferenceServerClient
) -> None:
    given = tensors(KINDS[0], KINDS[0].rows(2, 1), binary=True)
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


PAGES = ["open-inference", "tf-serving", "mlflow"]


@pytest.fixture(scope="module")
def iris(stack: Stack) -> None:
    """The model that the pages ask."""
    with Client(stack.url, stack.key) as client, contextlib.suppress(AssertionError):
        client.call("GET", "/models/iris", 200)
        return
    with Client(stack.url, stack.key) as client:
        client.trained(model="iris", dataset={"sample": "iris"}, target="target")


@pytest.mark.parametrize("page", PAGES)
def test_the_clients_of_the_pages_work_as_printed(stack: Stack, iris: None, page: str) -> None:
    text = (CHECKOUT / "docs" / "protocols" / f"{page}.md").read_text()
    scripts = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert scripts
    for script in scripts:
        here = script.replace("127.0.0.1:8080", stack.url.removeprefix("http://"))
        here = here.replace("127.0.0.1:8081", stack.grpc)
        done = subprocess.run([sys.executable, "-c", here], capture_output=True, text=True, timeout=100, cwd=CHECKOUT)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    for script in re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        here = script.replace("http://127.0.0.1:8080", stack.url)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", here], capture_output=True, text=True, timeout=100)
        assert '"outputs":[' in done.stdout, done.stderr
