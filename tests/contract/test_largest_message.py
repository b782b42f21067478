"""What is too large for a message is refused before it is sent, on RabbitMQ and on the broker in memory alike."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.contract.serving import serving
from tests.contract.test_unconfirmed import Listening
from tests.rabbit import eventually, wait_until
from wire import errors, messages, replies, telemetry, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline
from wire.server import Request

if TYPE_CHECKING:
    from tests.contract.conftest import Bench

LARGEST = bytes(topology.MAX_MESSAGE_BYTES)
TOO_LARGE = LARGEST + b"0"


async def call(client: AsyncRpcClient, body: bytes = b"", queue: str = topology.PREDICT) -> replies.Delivery:
    return await client.call_raw(queue, body, "k", deadline=Deadline.after(30))


async def test_the_largest_message_arrives(bench: Bench) -> None:
    serving(bench, topology.PREDICT, lambda request: request.reply_raw(request.body, "k"))
    async with bench.async_client() as client:
        assert (await call(client, LARGEST)).body == LARGEST


async def test_what_is_larger_is_refused_and_ends_nothing_else(bench: Bench) -> None:
    """An open call would end with its connection."""
    begun, go = threading.Event(), threading.Event()

    def slow(request: Request) -> None:
        begun.set()
        assert go.wait(30)
        request.reply_raw(b"answer", "k")

    serving(bench, topology.PREDICT, slow)
    async with bench.async_client() as client:
        sink = Listening()
        route = topology.PREDICT
        key = client.open_stream(route, b"", "k", sink, routing_key=route, remaining_ms=30_000, confirmed=False)
        assert await asyncio.to_thread(begun.wait, 15)
        for _ in range(3):
            with pytest.raises(errors.TooLarge):
                await call(client, TOO_LARGE)
            with pytest.raises(errors.TooLarge):
                await client.publish(topology.JOBS, TOO_LARGE)
            with pytest.raises(errors.TooLarge):
                client.open_stream(topology.TRAIN, TOO_LARGE, "k", Listening(), routing_key=topology.TRAIN)
            with pytest.raises(errors.TooLarge):
                client.open_stream(route, TOO_LARGE, "k", Listening(), routing_key=route, confirmed=False)
            with pytest.raises(errors.TooLarge):
                client.broadcast(topology.PRESENCE, TOO_LARGE, "k")
        await client.publish(topology.JOBS, b"")
        assert client.connected
        go.set()
        assert (await sink.end()).body == b"answer"
        client.close_stream(key)


@pytest.mark.parametrize("confirmed", [True, False])
async def test_an_answer_that_is_larger_becomes_the_error_that_says_so(bench: Bench, confirmed: bool) -> None:
    """And the answers that were under way beside it come."""
    held: list[Request] = []

    def answer(request: Request) -> None:
        if request.body == b"held":
            held.append(request)
            return
        request.reply_raw(TOO_LARGE, "k")
        held.pop().reply_raw(b"answer", "k")

    serving(bench, topology.PREDICT, answer, confirmed=confirmed)
    async with bench.async_client() as client:
        first = asyncio.create_task(call(client, b"held"))
        await eventually(lambda: held, "the first one is in the handler's hands")
        refused = await call(client, b"")
        assert refused.kind == messages.Failure.TYPE
        assert messages.Failure.decode(refused.body).error.code == errors.TooLarge.code
        assert (await first).body == b"answer"


def counted(name: str, **labels: str) -> float:
    return sum(
        sample.value
        for metric in telemetry.REGISTRY.collect()
        for sample in metric.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_a_broadcast_that_is_larger_is_dropped_and_the_next_is_heard(bench: Bench) -> None:
    heard: list[str] = []
    listener = bench.server("trainer", "listener")
    listener.subscribe(
        topology.PRESENCE, lambda request: heard.append(messages.PredictorAlive.decode(request.body).predictor_id)
    )
    bench.start(listener)
    speaker = bench.start(bench.server())
    connects = counted("warren_broker_connects_total")
    dropped = counted("warren_rpc_replies_dropped_total", reason="too_large")
    for name in ("x" * len(TOO_LARGE), "next"):
        speaker.broadcast(topology.PRESENCE, messages.PredictorAlive(predictor_id=name))
    wait_until(lambda: heard, "one is heard")
    assert heard == ["next"]
    assert counted("warren_broker_connects_total") == connects
    assert counted("warren_rpc_replies_dropped_total", reason="too_large") == dropped + 1
