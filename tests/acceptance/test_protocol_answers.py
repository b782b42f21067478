"""Every protocol beside POST /predict, with real clients on a real stack: the same rows, the same numbers."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.acceptance.model_kinds import KINDS, ROWS, Kind, TrainedKinds
from tests.acceptance.stack import Client, Json, Stack
from tests.acceptance.triton_tensors import grpc_tensors, grpc_values, http_tensors, keyed, labels


@pytest.fixture(scope="module")
def trained(trained_kinds: TrainedKinds) -> Json:
    """One model of each kind; the answers of POST /predict to its rows."""
    return trained_kinds.answers(KINDS)


def close(one: Any, other: Any) -> bool:
    """Equal labels, or numbers within 1e-9."""
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other) and type(one) is type(other)


def assert_same(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    wrong = [at for at, (one, other) in enumerate(zip(found, expected, strict=True)) if not close(one, other)]
    assert not wrong, f"{len(wrong)} of {len(expected)} differ, the first: {found[wrong[0]]} {expected[wrong[0]]}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_tritonclient_gets_the_same_from_every_kind_of_model(
    stack: Stack, trained: Json, server: triton.InferenceServerClient, kind: Kind, binary: bool
) -> None:
    expected = trained[kind.name]
    names = ["predict", "predict_proba"] if kind.probabilities else ["predict"]
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    given = http_tensors(kind, kind.rows(ROWS, 1), binary)
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
    given = http_tensors(kind, kind.rows(3, 2), binary=True)
    answer = server.infer(kind.name, given, headers=keyed(stack))
    (predict, *_) = told["outputs"]
    assert answer.get_output("predict")["datatype"] == predict["datatype"]
    assert server.is_model_ready(kind.name, headers=keyed(stack))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_form_of_the_other_protocols_gives_the_same(client: Client, trained: Json, kind: Kind) -> None:
    expected, rows = trained[kind.name]["predictions"], kind.rows(ROWS, 1)
    names = list(kind.types)
    named = [dict(zip(names, row, strict=True)) for row in rows]
    by_column = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    turned = {"columns": names[::-1], "index": list(range(ROWS)), "data": [row[::-1] for row in rows]}

    def ask(path: str, member: str, **given: Any) -> list[Any]:
        told: Json = client.call("POST", path, 200, **given)
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
