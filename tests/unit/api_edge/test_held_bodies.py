"""What a replica holds of requests that wait, on the broker in memory: counted whole, and let go with its client."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from api import metrics
from api.app import create_app
from api.predict import envelope, patience
from api.predict.alone import Retrier
from api.predict.batches import Outcome, Pending
from api.predict.coalescer import Coalescer
from tests.rabbit import eventually
from tests.unit.api_edge.alike import predictor
from wire.memory import MemoryBroker
from wire.settings import Predict, Settings

MIB = 1024 * 1024
INFER = "/v2/models/m/infer"


def spaced(size_bytes: int) -> bytes:
    """One row, and white space before it."""
    return b'{"model":"m",%b"instances":[[1]]}' % (b" " * size_bytes)


def usual(size_bytes: int) -> bytes:
    """One row of so many bytes."""
    return b'{"model":"m","instances":[[1%b]]}' % (b",1" * (size_bytes // 2))


def remarked(size_bytes: int) -> bytes:
    """One value, and members that nobody knows."""
    tensor = {"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [1]}
    return json.dumps({"remark": "x" * size_bytes, "inputs": [tensor]}).encode()


class Replica:
    """A replica's application without a ledger, and a client of it."""

    def __init__(self, client: httpx.AsyncClient, coalescer: Coalescer) -> None:
        self._client = client
        self._coalescer = coalescer

    def ask(self, body: bytes, path: str = "/predict") -> asyncio.Task[httpx.Response]:
        headers = {"content-type": "application/json", "x-request-timeout-ms": "30000"}
        return asyncio.create_task(self._client.post(path, content=body, headers=headers))

    async def holds(self, count: int) -> None:
        await eventually(lambda: self._coalescer.held == count, f"{count} requests are held")


OpenReplica = Callable[..., AbstractAsyncContextManager[Replica]]


@pytest.fixture
def gate() -> threading.Event:
    """Holds the predictor back until it is set."""
    return threading.Event()


@pytest.fixture
def memory(gate: threading.Event) -> Iterator[MemoryBroker]:
    """With a predictor that answers every request alike."""
    broker = MemoryBroker()
    server = predictor(broker, gate)
    yield broker
    gate.set()
    server.stop(5)


@pytest.fixture
def open_replica(memory: MemoryBroker) -> OpenReplica:
    """Opens a replica; keywords are settings of the prediction path."""

    @asynccontextmanager
    async def opened(**predict: Any) -> AsyncIterator[Replica]:
        config = Settings(predict=Predict(**predict))
        rpc = memory.async_client("api", "api")
        await rpc.start()
        assert await rpc.wait_connected(5)
        coalescer = Coalescer(rpc, config.predict)
        await coalescer.start()
        app = create_app(config)
        app.state.gateway = SimpleNamespace(coalescer=coalescer)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            yield Replica(client, coalescer)
        await coalescer.close()
        await rpc.close()

    return opened


async def test_a_body_that_is_refused_for_overload_is_not_looked_at(
    open_replica: OpenReplica, gate: threading.Event
) -> None:
    long = b'{"model":"m","instances":[[1%b]]}' % (b" " * 3_000)
    async with open_replica(waiting_bytes=5_000) as replica:
        first = replica.ask(long)
        await replica.holds(1)
        assert (await replica.ask(long.replace(b"[[1", b"[[1,"))).status_code == 429
        gate.set()
        assert (await first).status_code == 200


@pytest.mark.parametrize(("path", "body"), [("/predict", spaced(3_000)), (INFER, remarked(3_000))])
async def test_a_body_counts_whole_however_little_of_it_are_rows(
    open_replica: OpenReplica, gate: threading.Event, path: str, body: bytes
) -> None:
    async with open_replica(waiting_bytes=5_000) as replica:
        first = replica.ask(body, path)
        await replica.holds(1)
        refused = await replica.ask(body, path)
        assert refused.status_code == 429
        small = replica.ask(spaced(0))
        await replica.holds(2)
        gate.set()
        assert (await small).status_code == 200
        await first
        assert (await replica.ask(spaced(3_000))).status_code == 200, "the place is free again"


@pytest.mark.parametrize(
    ("body", "count", "worth_bytes"),
    [(spaced(MIB), 20, 10**9), (spaced(MIB), 20, 21 * len("[[1]]")), (usual(60_000), 100, 10**9)],
    ids=["in the line", "in a batch that is under way", "glanced at"],
)
async def test_a_body_is_let_go_with_its_client_while_others_wait(
    open_replica: OpenReplica, monkeypatch: pytest.MonkeyPatch, body: bytes, count: int, worth_bytes: int
) -> None:
    all_bytes = count * len(body)
    for name in ("UNKNOWN_S", "FLOOR_S"):
        monkeypatch.setattr(patience, name, 60.0)
    async with open_replica(worth_bytes=worth_bytes) as replica:
        staying = [replica.ask(spaced(0))]
        await replica.holds(1)
        tracemalloc.start()
        try:
            leaving = [replica.ask(bytes(bytearray(body))) for _ in range(count)]
            await replica.holds(1 + count)
            staying.append(replica.ask(spaced(0)))
            await replica.holds(2 + count)
            assert tracemalloc.get_traced_memory()[0] > all_bytes
            for one in leaving:
                one.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            await replica.holds(2)
            del leaving, one
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 0.2 * all_bytes
        finally:
            tracemalloc.stop()
        for one in staying:
            assert not one.done()
            one.cancel()


def retried() -> float:
    return sum(
        sample.value
        for metric in metrics.retried_alone.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def test_who_left_before_his_turn_is_not_asked_for_alone(memory: MemoryBroker) -> None:
    """His client leaves when he is already taken from the line."""

    def ended(pending: Pending, outcome: Outcome) -> None:
        raise AssertionError(outcome)

    before = retried()
    pending = Pending("r")
    pending.expect(envelope.NOTHING, time.monotonic() + 30)
    retrier = Retrier(memory.async_client("api", "api"), ended)
    retrier.add([pending])
    await asyncio.sleep(0)
    pending.done = True
    await asyncio.gather(*retrier.close())
    assert retried() == before
