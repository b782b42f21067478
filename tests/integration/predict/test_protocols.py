"""Predictions of other protocols: through both doors, in batches of their own, and beside older predictors."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.predict.conftest import OpenReplica, Replica, until
from tests.integration.predict.scripted import ScriptedPredictor
from tests.integration.predict.test_lean import Client, opened
from wire import errors, frames, messages, settings
from wire.server import Request

pytestmark = pytest.mark.usefixtures("unhurried")

INFER = "/v2/models/m/infer"


def infer(*numbers: int, **more: Any) -> dict[str, Any]:
    data = [[number] for number in numbers]
    return {"inputs": [{"name": "x", "shape": [len(data), 1], "datatype": "INT64", "data": data}], **more}


def raw(path: str, body: dict[str, Any], *lines: str) -> bytes:
    """A request as tritonclient sends it: without a content type."""
    content = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: localhost", *lines, f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(head).encode() + content


async def same(client: Client, replica: Replica, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    """What both doors answer, which is the same."""
    status, headers, told = await client.ask(raw(path, body, "X-Request-ID: mine", "Content-Type: application/json"))
    asgi = await replica.client.post(path, json=body, headers={"X-Request-ID": "mine"})
    assert (status, told) == (asgi.status_code, asgi.json())
    assert headers.keys() - {"date"} == dict(asgi.headers).keys()
    return status, told


async def test_both_doors_speak_every_protocol(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path
) -> None:
    async with opened(open_replica, tmp_path) as door, door.connected() as client:
        status, told = await same(client, door.replica, INFER, infer(1, 2, id="7"))
        assert (status, told) == (
            200,
            {
                "model_name": "m",
                "model_version": "7",
                "id": "7",
                "outputs": [{"name": "predict", "datatype": "INT64", "shape": [2], "data": [1, 2]}],
            },
        )
        rows = {"instances": [[1], [2]]}
        assert await same(client, door.replica, "/v1/models/m:predict", rows) == (200, {"predictions": [1, 2]})
        assert await same(client, door.replica, "/mlflow/m/invocations", rows) == (200, {"predictions": [1, 2]})
        status, told = await same(client, door.replica, "/v2/models/missing/infer", infer(1))
        assert (status, told) == (404, {"error": "There is no model of this name."})
        status, told = await same(client, door.replica, INFER, {})
        assert (status, list(told)) == (400, ["error"])
        assert (await client.ask(raw(INFER, infer(5))))[2]["outputs"][0]["data"] == [5]
        status, headers, told = await client.ask(raw(INFER, infer(1)).replace(b"POST", b"GET", 1))
        assert (status, headers["allow"], list(told)) == (405, "POST", ["error"])


async def test_rows_share_batches_and_tensors_have_their_own(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica() as replica:
        predictor.gate.clear()
        first = [
            asyncio.create_task(replica.predict([[0]])),
            asyncio.create_task(replica.client.post(INFER, json=infer(0))),
        ]

        async def under_way() -> bool:
            return replica.held == 2 and len(predictor.batches) >= 1

        await until(under_way, "a batch of each lane is under way")
        calls = [replica.predict([[1]]) for _ in range(3)]
        calls += [replica.client.post("/v1/models/m:predict", json={"instances": [[2]]}) for _ in range(3)]
        calls += [replica.client.post(INFER, json=infer(3)) for _ in range(3)]
        rest = [asyncio.create_task(call) for call in calls]

        async def all_wait() -> bool:
            return replica.held == 11

        await until(all_wait, "everything waits")
        predictor.gate.set()
        answers = await asyncio.gather(*first, *rest)
    assert {answer.status_code for answer in answers} == {200}
    together = sorted(len(rows) for _, rows in predictor.batches)
    assert together == [1, 1, 3, 6]


class OlderPredictor(ScriptedPredictor):
    """One that knows only the first schema, and says so as those of that time do."""

    def handle(self, request: Request) -> messages.Message | None:
        header, _ = frames.decode_batch(request.body)
        if header.schema != frames.SCHEMA:
            raise errors.MalformedBody(f"frame schema {header.schema} is not {frames.SCHEMA}")
        return super().handle(request)


async def test_an_older_predictor_answers_rows_and_nothing_else(
    open_replica: OpenReplica, broker: settings.Broker
) -> None:
    older = OlderPredictor(broker).start()
    try:
        async with open_replica() as replica:
            answers = await asyncio.gather(
                replica.predict([[1]]),
                replica.client.post("/v1/models/m:predict", json={"instances": [[2]]}),
                replica.client.post(INFER, json=infer(3)),
            )
    finally:
        older.stop()
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert "older version" in answers[2].json()["error"]
    assert "retry-after" in answers[2].headers


async def test_statistics_are_those_of_the_replica(open_replica: OpenReplica, predictor: ScriptedPredictor) -> None:
    async with open_replica() as replica:
        await replica.predict([[1], [2]])
        await replica.client.post(INFER, json=infer(3))
        await replica.predict([["bad"]])
        (told,) = (await replica.client.get("/v2/models/stats")).json()["model_stats"]
    assert (told["name"], told["version"], told["inference_count"], told["execution_count"]) == ("m", "7", 3, 2)
    counts = {name: stat["count"] for name, stat in told["inference_stats"].items()}
    assert (counts["success"], counts["fail"], counts["queue"]) == (2, 1, 2)


async def test_the_health_calls_tell_what_readyz_tells(open_replica: OpenReplica, predictor: ScriptedPredictor) -> None:
    async with open_replica() as replica:
        assert (await replica.client.get("/v2/health/live")).json() == {"live": True}
        answer = await replica.client.get("/v2/health/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert "no trainer is running" in answer.json()["error"]
