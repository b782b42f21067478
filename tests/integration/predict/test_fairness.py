"""One busy model beside a quiet one: a replica, the real broker, a real predictor, slow inference."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from predictor.service import PredictorService
from tests.integration.predict.conftest import OpenReplica
from tests.integration.predict.test_batching import held
from tests.unit.predictor.artefacts import Shelf, regression
from wire import settings

pytestmark = pytest.mark.usefixtures("unhurried")

WIDTH, STEPS = 1500, 8
BUSY = 256


def slow() -> bytes:
    """``value`` = a + b, by way of matrices that take tens of milliseconds, for one row and for four."""
    first, last = np.zeros((2, WIDTH)), np.zeros((WIDTH, 1))
    first[:, 0], last[0, 0] = 1.0, 1.0
    constants = {"first": first, "same": np.eye(WIDTH), "last": last}
    names = ["numbers", *(f"step{number}" for number in range(STEPS + 1)), "value"]
    weights = ["first", *["same"] * STEPS, "last"]
    nodes = [
        helper.make_node("MatMul", [before, weight], [after])
        for before, weight, after in zip(names, weights, names[1:], strict=False)
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("value", TensorProto.DOUBLE, [None, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made: Any = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


@pytest.fixture
def predictor(broker: settings.Broker, tmp_path: Path) -> Iterator[PredictorService]:
    """One predictor that has both models in memory."""
    shelf = Shelf.make(tmp_path)
    shelf.publish(slow(), "busy")
    shelf.publish(regression(), "quiet")
    paths = settings.Paths(models=shelf.volume.root, verify_key_file=shelf.verify_key_file)
    service = PredictorService(settings.Settings(broker=broker, paths=paths))
    service.start()
    assert service.wait_ready(15)
    yield service
    service.stop(5)


async def test_a_quiet_model_is_answered_while_hundreds_wait_for_a_busy_one(
    open_replica: OpenReplica, predictor: PredictorService
) -> None:
    """Each quiet request waits for the busy batches ahead of it in the predictor, never for those in the replica."""
    async with open_replica(batch_requests=4, deadline_ms=30_000) as replica:
        busy = [asyncio.create_task(replica.predict([[number, 1]], "busy")) for number in range(BUSY)]
        await held(replica, BUSY)
        quiet = [(await replica.predict([[number, 1]], "quiet")).json()["predictions"] for number in range(10)]
        still_waiting = sum(not task.done() for task in busy)
        answers = [answer.json().get("predictions") for answer in await asyncio.gather(*busy)]
    assert quiet == [[number + 1.0] for number in range(10)]
    assert still_waiting >= BUSY / 2
    assert answers == [[number + 1.0] for number in range(BUSY)]


async def test_two_busy_models_get_their_turns_alike(open_replica: OpenReplica, predictor: PredictorService) -> None:
    """Two lines of the same slow model, by version and by alias: neither is through before the other is half way."""
    async with open_replica(batch_requests=4, deadline_ms=30_000) as replica:
        order: list[str] = []

        async def ask(name: str, **members: Any) -> None:
            assert (await replica.predict([[1, 1]], "busy", **members)).status_code == 200
            order.append(name)

        asked = [ask("alias") for _ in range(64)] + [ask("version", version=1) for _ in range(64)]
        await asyncio.gather(*asked)
    assert 16 <= order[:64].count("alias") <= 48
