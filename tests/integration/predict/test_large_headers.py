"""Requests whose header is larger than their rows, beside a stream of predictions that notices nothing."""

from __future__ import annotations

import asyncio
import json
import struct

import grpc
import pytest

from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from tests.integration.predict.conftest import OpenReplica, Replica
from tests.integration.predict.scripted import ScriptedPredictor
from tests.integration.predict.test_grpc import Client
from wire import telemetry

pytestmark = pytest.mark.usefixtures("unhurried")


def connects() -> float:
    """Connections to the broker that this process ever opened, the predictor's among them."""
    return sum(
        sample.value
        for metric in telemetry.broker_connects.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def described(names: list[str]) -> messages.ModelInferRequest:
    """One row, in a tensor for each name."""
    message = messages.ModelInferRequest(model_name="m")
    for name in names:
        message.inputs.add(name=name, datatype="FP64", shape=[1, 1])
    message.raw_input_contents.extend([struct.pack("<d", 1.0)] * len(names))
    return message


class Stream:
    """Predictions one after another, until it is left: each must be answered."""

    def __init__(self, replica: Replica) -> None:
        self.statuses: list[int] = []
        self._replica = replica
        self._ending = False

    async def _run(self) -> None:
        while not self._ending and set(self.statuses) <= {200}:
            answer = await self._replica.predict([[len(self.statuses)]])
            self.statuses.append(answer.status_code)

    async def __aenter__(self) -> None:
        self._before = connects()
        self._tasks = [asyncio.create_task(self._run()) for _ in range(4)]

    async def __aexit__(self, *_error: object) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)
        assert set(self.statuses) == {200}
        assert connects() == self._before


async def test_a_header_that_no_message_holds_is_refused(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    """Four megabytes over gRPC, of which the header would write twenty-five."""
    culprit = described([f"{at:04}" + "\x01" * 1020 for at in range(4096)])
    async with open_replica() as replica, Stream(replica):
        for _ in range(3):
            code, _ = await Client(replica.client).refused("ModelInfer", culprit)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/mlflow/m/invocations"])
async def test_more_names_than_columns_can_be_are_refused(
    open_replica: OpenReplica, predictor: ScriptedPredictor, path: str
) -> None:
    body = json.dumps({"inputs": {f"c{at}": [] for at in range(230_000)}}).encode()
    async with open_replica() as replica, Stream(replica):
        for _ in range(3):
            answer = await replica.client.post(path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400


async def test_long_names_that_wait_together_are_answered(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    """Each is good by itself; as one batch they would be fifty megabytes."""
    good = described([f"{at:04}" + "x" * 1000 for at in range(4096)])
    async with open_replica() as replica, Stream(replica):
        client = Client(replica.client)
        answers = await asyncio.gather(*(client.call("ModelInfer", good) for _ in range(12)))
    assert [answer.model_version for answer in answers] == ["7"] * 12
