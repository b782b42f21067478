"""What callers choose themselves is not in what they are refused with, wherever they put it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.ledger import Ledger
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from api.state import State
from wire import settings
from wire.memory import MemoryBroker

TEXT = "Canary7f3a"
"""No legal name, so that no call is accepted; short, so that no cut takes it away."""
TRAIN = {"model": "m", "dataset": {"sample": "iris"}, "target": "target", "estimator": "Ridge"}
BATCH: dict[str, Any] = {"model": "m", "dataset": {"id": "0" * 32}}
TENSOR = {"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}

BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/train", {**TRAIN, "model": TEXT}),
    ("/train", {**TRAIN, "dataset": {"id": TEXT}}),
    ("/train", {**TRAIN, "dataset": {"sample": TEXT}}),
    ("/train", {**TRAIN, "dataset": {TEXT: 1}}),
    ("/train", {**TRAIN, "dataset": {"rows": [{TEXT: [1]}]}}),
    ("/train", {**TRAIN, "dataset": {"rows": [{TEXT: TEXT}]}}),
    ("/train", {**TRAIN, "target": TEXT}),
    ("/train", {**TRAIN, "estimator": TEXT}),
    ("/train", {**TRAIN, "params": {TEXT: TEXT}}),
    ("/train", {**TRAIN, "params": {"alpha": TEXT}}),
    ("/train", {**TRAIN, "params": {"alpha." + TEXT: 1}}),
    ("/train", {**TRAIN, "search": {"space": {TEXT: [TEXT]}}}),
    ("/train", {**TRAIN, "search": {"space": {TEXT: []}}}),
    ("/train", {**TRAIN, "search": {"space": {TEXT: 1}}}),
    ("/train", {**TRAIN, "search": {"kind": TEXT, "space": {}}}),
    ("/train", {**TRAIN, "estimator": "auto", "params": {TEXT: 1}, "search": {"space": {TEXT: [1]}}}),
    ("/train", {**TRAIN, "validation": {"scoring": TEXT}}),
    ("/train", {**TRAIN, "validation": {"order_by": TEXT}, "dataset": {"rows": [{"target": 1, "a": 2}]}}),
    ("/train", {**TRAIN, "promote": TEXT}),
    ("/train", {**TRAIN, TEXT: TEXT}),
    ("/train", {**TRAIN, f"x - at `${TEXT}": 1}),
    ("/train", {**TRAIN, f"x - at `${TEXT}.dataset": 1}),
    ("/batch-predictions", {**BATCH, "model": TEXT}),
    ("/batch-predictions", {**BATCH, "version": TEXT}),
    ("/batch-predictions", {**BATCH, "columns": TEXT}),
    ("/predict", {"model": TEXT, "instances": [[1]]}),
    ("/predict", {"model": "m", "instances": [[1]], "version": TEXT}),
    ("/predict", {"model": "m", "instances": TEXT}),
    ("/predict", {"model": "m", "instances": [[1]], TEXT: 1}),
    (f"/v2/models/{TEXT}/infer", {"inputs": [TENSOR]}),
    (f"/v2/models/m/versions/{TEXT}/infer", {"inputs": [TENSOR]}),
    ("/v2/models/m/infer", {"inputs": [{**TENSOR, "datatype": TEXT}]}),
    ("/v2/models/m/infer", {"inputs": [{**TENSOR, "name": TEXT * 1000}]}),
    ("/v2/models/m/infer", {"inputs": [{**TENSOR, "shape": TEXT}]}),
    ("/v2/models/m/infer", {"inputs": [TENSOR], "outputs": [{"name": TEXT}]}),
    ("/v2/repository/index", {"ready": TEXT}),
    (f"/v1/models/{TEXT}:predict", {"instances": [[1]]}),
    (f"/v1/models/m/versions/{TEXT}:predict", {"instances": [[1]]}),
    (f"/v1/models/m/labels/{TEXT}:predict", {"instances": [[1]]}),
    ("/v1/models/m:predict", {"instances": [[1]], "signature_name": TEXT}),
    ("/v1/models/m:predict", {"inputs": {TEXT: 1}}),
    (f"/mlflow/{TEXT}/invocations", {"instances": [[1]]}),
    ("/mlflow/m/invocations", {TEXT: [[1]]}),
    ("/mlflow/m/invocations", {"dataframe_split": {"columns": {TEXT: 1}, "data": []}}),
    ("/keys", {"owner": "a", "scopes": [TEXT]}),
    ("/keys", {"owner": " " + TEXT, "scopes": ["predict"]}),
    ("/" + TEXT, {}),
]

CALLS = [
    ("GET", f"/models/{TEXT}"), ("DELETE", f"/models/{TEXT}"), ("POST", f"/models/{TEXT}/rollback"),
    ("GET", f"/models/m/versions/{TEXT}"), ("GET", f"/models/m/versions/1/files/{TEXT}"),
    ("DELETE", f"/models/m/aliases/{TEXT}"), ("GET", f"/models/m/{TEXT}"), ("GET", f"/models/{TEXT}/"),
    ("GET", f"/jobs/{TEXT}"), ("GET", f"/jobs?status={TEXT}"), ("GET", f"/jobs?limit={TEXT}"),
    ("GET", f"/jobs?cursor={TEXT}"), ("GET", f"/datasets/{TEXT}"), ("GET", f"/datasets?cursor={TEXT}"),
    ("DELETE", f"/keys/{TEXT}"), ("GET", f"/audit?cursor={TEXT}"), ("GET", f"/docs/{TEXT}"), (TEXT.upper(), "/models"),
    ("GET", f"/v2/models/{TEXT}"), ("GET", f"/v1/models/{TEXT}"), ("GET", f"/mlflow/m/{TEXT}"),
]  # fmt: skip

HEADERS = [
    {"content-type": TEXT}, {"content-type": f"application/json; charset={TEXT}"}, {"content-encoding": TEXT},
    {"idempotency-key": TEXT + " "+ TEXT}, {"x-request-timeout-ms": TEXT}, {"x-request-id": TEXT + "!"},
    {"content-length": TEXT}, {"inference-header-content-length": TEXT},
]  # fmt: skip


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    config = settings.Settings(
        ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"),
        paths=settings.Paths(datasets=tmp_path / "datasets"),
    )
    ledger = Ledger(config.ledger)
    ledger.migrate()
    app = create_app(config)
    rpc = MemoryBroker().async_client("api", "api")
    await rpc.start()
    app.state.gateway = state = State(config, rpc, ledger, None)  # type: ignore[arg-type]
    state.migrated.set()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client
    await state.trail.close()
    await rpc.close()
    ledger.close()


def check(answer: httpx.Response, statuses: range = range(400, 500)) -> None:
    """That it is a refusal, and that the text is nowhere in it."""
    assert answer.status_code in statuses, answer.text
    assert TEXT.lower() not in f"{answer.headers}{answer.text}".lower()


@pytest.mark.parametrize(("path", "body"), BODIES, ids=lambda value: json.dumps(value)[:60])
async def test_no_refusal_repeats_a_body_or_a_path(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    check(await client.post(path, json=body))


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_no_refusal_repeats_a_part_of_an_address(client: httpx.AsyncClient, method: str, path: str) -> None:
    check(await client.request(method, path))


@pytest.mark.parametrize("headers", HEADERS, ids=str)
async def test_no_refusal_repeats_a_header(client: httpx.AsyncClient, headers: Mapping[str, str]) -> None:
    for path in ("/train", "/predict", "/v2/models/m/infer", "/v1/models/m:predict", "/mlflow/m/invocations"):
        answer = await client.post(path, content=b"{}", headers={"content-type": "application/json", **headers})
        check(answer)


async def test_no_code_of_grpc_comes_with_a_text_of_the_callers(client: httpx.AsyncClient) -> None:
    tensor = messages.ModelInferRequest.InferInputTensor(name=TEXT * 1000, datatype=TEXT, shape=[1, 1])
    for request in (
        messages.ModelInferRequest(model_name=TEXT),
        messages.ModelInferRequest(model_name="m", model_version=TEXT),
        messages.ModelInferRequest(model_name="m", inputs=[tensor]),
    ):
        packed = request.SerializeToString()
        answer = await client.post(
            "/inference.GRPCInferenceService/ModelInfer",
            content=b"\0" + len(packed).to_bytes(4, "big") + packed,
            headers={"content-type": "application/grpc"},
        )
        assert answer.headers["grpc-status"] != "0"
        check(answer, range(200, 201))
