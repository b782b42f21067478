"""Requests whose description takes more room than their rows, on the broker in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from api.predict import batches, policy
from api.predict.batches import Answer, Outcome, Pending
from api.predict.coalescer import Coalescer
from api.predict.envelope import Asked
from tests.unit.api_edge.alike import predictor
from wire import errors, frames, telemetry, topology
from wire.async_client import AsyncRpcClient
from wire.memory import MemoryBroker
from wire.settings import Predict


class Asking(Pending):
    """A request whose end can be awaited."""

    def __init__(self, asked: Asked) -> None:
        super().__init__("r" * 128)
        self.expect(asked, asyncio.get_running_loop().time() + 30)
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def answer(self, outcome: Outcome) -> None:
        self.outcome.set_result(outcome)


def tensors(count: int, name: str, size_bytes: int = 8) -> Asked:
    described = tuple(frames.Tensor(f"{at:04}{name}", "INT64", (1, 1), size_bytes, "raw") for at in range(count))
    return Asked("m", 0, "champion", bytes(size_bytes * count), False, 1, "tensors", described)


def rows() -> Asked:
    return Asked("m", 0, "champion", b"[[1]]", False, 1)


def connects() -> float:
    return sum(
        sample.value
        for metric in telemetry.broker_connects.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


@pytest.fixture
def memory() -> Iterator[MemoryBroker]:
    """With a predictor that answers every request alike."""
    broker = MemoryBroker()
    server = predictor(broker)
    yield broker
    server.stop(5)


@pytest.fixture
async def rpc(memory: MemoryBroker) -> AsyncIterator[AsyncRpcClient]:
    client = memory.async_client("api", "replica")
    await client.start()
    assert await client.wait_connected(5)
    yield client
    await client.close()


@pytest.fixture
async def coalescer(rpc: AsyncRpcClient) -> AsyncIterator[Coalescer]:
    made = Coalescer(rpc, Predict())
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("requests", "asked"),
    [(12, tensors(4096, "x" * 1000)), (200, tensors(100, "\x01" * 300))],
    ids=["few", "many"],
)
async def test_every_batch_is_one_that_a_message_holds(requests: int, asked: Asked) -> None:
    books: policy.Policy[Pending] = policy.Policy(Predict())
    waiting = [Asking(asked) for _ in range(requests)]
    for one in waiting:
        books.admit(one)
    sent: list[Pending] = []
    while batch := books.take(waiting[0].reference):
        body, _ = batches.encode(waiting[0].reference, batch, 0.0)
        assert len(body) <= topology.MAX_MESSAGE_BYTES
        sent += batch
        books.landed(waiting[0].reference)
    assert sent == waiting


@pytest.mark.parametrize(
    "asked",
    [tensors(4096, "\x01" * 1020), tensors(1, "x", topology.MAX_MESSAGE_BYTES)],
    ids=["long names", "many integers"],
)
async def test_a_request_that_no_message_holds_is_refused_and_disturbs_nobody(
    coalescer: Coalescer, asked: Asked
) -> None:
    """Names that a header writes six times as long, or integers that were packed: others are under way beside it."""
    before = connects()
    others: list[Asking] = []
    for _ in range(3):
        culprit = Asking(asked)
        others.append(Asking(rows()))
        coalescer.submit(others[-1])
        await asyncio.sleep(0)
        coalescer.submit(culprit)
        others.append(Asking(tensors(1, "x")))
        coalescer.submit(others[-1])
        async with asyncio.timeout(15):
            assert isinstance(await culprit.outcome, errors.TooLarge)
    async with asyncio.timeout(15):
        outcomes = [await one.outcome for one in others]
    assert all(isinstance(outcome, Answer) for outcome in outcomes), outcomes
    assert connects() == before
    assert coalescer.held == 0
