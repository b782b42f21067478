"""Messages without publisher confirms, on RabbitMQ and on the broker in memory alike."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.rabbit import connects, eventually, wait_until
from wire import errors, telemetry, topology
from wire.async_client import AsyncRpcClient, Delivery
from wire.server import Request

if TYPE_CHECKING:
    from tests.contract.conftest import Bench


class Listening:
    """A sink that remembers how its stream ended."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()

    def take(self, delivery: Delivery) -> None:
        self.ended.set_result(delivery)

    def fail(self, error: errors.WarrenError) -> None:
        self.ended.set_exception(error)

    async def end(self) -> Delivery:
        async with asyncio.timeout(15):
            return await self.ended


def ask(client: AsyncRpcClient, sink: Listening, route: str = topology.PREDICT) -> str:
    return client.open_stream(
        topology.PREDICT, b"rows", "k", sink, routing_key=route, remaining_ms=10_000, confirmed=False
    )


def dropped() -> float:
    return float(telemetry.REGISTRY.get_sample_value("warren_rpc_replies_dropped_total", {"reason": "gone"}) or 0)


async def test_a_request_and_its_answer_travel_without_confirms(bench: Bench) -> None:
    server = bench.server()
    server.serve(topology.PREDICT, lambda request: request.reply_raw(request.body, "k"), prefetch=2, confirmed=False)
    bench.start(server)
    async with bench.async_client() as client:
        for _ in range(5):
            sink = Listening()
            key = ask(client, sink)
            assert (await sink.end()).body == b"rows"
            client.close_stream(key)


async def test_without_a_queue_it_fails_at_once(bench: Bench) -> None:
    async with bench.async_client() as client:
        sink = Listening()
        ask(client, sink, "nobody")
        with pytest.raises(errors.Unroutable):
            await sink.end()


async def test_it_fails_when_the_publishing_connection_is_lost(bench: Bench) -> None:
    async with bench.async_client() as client:
        sink = Listening()
        ask(client, sink)
        bench.close_publishing("replica")
        with pytest.raises(errors.BrokerUnavailable):
            await sink.end()
        with pytest.raises(errors.BrokerUnavailable):
            ask(client, Listening())


class Held:
    """A server that answers when it is let go."""

    def __init__(self, bench: Bench) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.server = bench.server()
        self.server.serve(topology.PREDICT, self._answer, prefetch=2, confirmed=False)
        bench.start(self.server)

    def _answer(self, request: Request) -> None:
        self.begun.set()
        self.go.wait(10)
        request.reply_raw(b"at last", "k")


async def test_an_answer_waits_for_the_publishing_connection(bench: Bench) -> None:
    held = Held(bench)
    async with bench.async_client() as client:
        sink = Listening()
        key = ask(client, sink)
        await eventually(held.begun.is_set, "it is begun")
        before = connects("predictor-", ".publish")
        bench.close_publishing("predictor")
        await eventually(
            lambda: not held.server.connected or connects("predictor-", ".publish") > before, "the connection was lost"
        )
        held.go.set()
        assert (await sink.end()).body == b"at last"
        client.close_stream(key)


async def test_an_answer_to_a_requester_that_is_gone_is_counted(bench: Bench) -> None:
    held = Held(bench)
    async with bench.async_client() as client:
        sink = Listening()
        ask(client, sink)
        await eventually(held.begun.is_set, "it is begun")
    with pytest.raises(errors.BrokerUnavailable):
        await sink.end()
    before = dropped()
    held.go.set()
    await asyncio.to_thread(wait_until, lambda: dropped() > before, "the answer came back")
