"""What a lost connection costs clients and servers, on RabbitMQ and on the broker in memory alike."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.contract.serving import listed, serving, until_ready
from tests.rabbit import connects, eventually
from wire import errors, messages, topology
from wire.deadlines import Deadline
from wire.server import Request

if TYPE_CHECKING:
    from tests.contract.conftest import Bench


class TestLostConnections:
    async def test_every_open_call_fails_when_the_connection_is_lost(self, bench: Bench) -> None:
        async with bench.async_client(name="lost") as client:
            calls = [
                asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(60)))
                for _ in range(20)
            ]
            await until_ready(client, topology.PREDICT, 20)
            await asyncio.to_thread(bench.close_connections, "lost")
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {errors.BrokerUnavailable}

    async def test_a_client_calls_again_after_a_reconnect(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, listed)
        async with bench.async_client(name="phoenix") as client:
            before = connects("phoenix-")
            await asyncio.to_thread(bench.close_connections, "phoenix")
            await eventually(lambda: connects("phoenix-") >= before + 2, "both connections were lost and are back")
            assert await client.wait_connected(15)
            await client.call(topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5))

    async def test_a_server_serves_again_after_a_reconnect(self, bench: Bench) -> None:
        server = bench.server(name="phoenix")
        server.serve(topology.MODELS, listed, prefetch=1)
        bench.start(server)
        before = connects("phoenix-")
        await asyncio.to_thread(bench.close_connections, "phoenix")
        await eventually(lambda: connects("phoenix-") >= before + 2, "both connections were lost and are back")
        await eventually(lambda: server.ready, "it takes deliveries again")
        async with bench.async_client() as client:
            await client.call(topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5))

    async def test_a_reply_is_sent_again_when_the_publishing_connection_was_lost(self, bench: Bench) -> None:
        begun, go = threading.Event(), threading.Event()

        def slow(request: Request) -> None:
            begun.set()
            go.wait(10)
            request.reply_raw(b"kept", "k")

        server = bench.server(name="mute")
        server.serve(topology.PREDICT, slow, prefetch=1)
        bench.start(server)
        async with bench.async_client() as client:
            call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(30)))
            await eventually(begun.is_set, "it is begun")
            before = connects("mute-", ".publish")
            await asyncio.to_thread(bench.close_publishing, "mute")
            await eventually(
                lambda: not server.connected or connects("mute-", ".publish") > before, "the connection was lost"
            )
            go.set()
            assert (await call).body == b"kept"

    async def test_a_reply_to_a_requester_that_is_gone_is_dropped(self, bench: Bench) -> None:
        begun, go = threading.Event(), threading.Event()

        def slow(request: Request) -> None:
            begun.set()
            go.wait(10)
            request.reply_raw(b"", "k")

        serving(bench, topology.PREDICT, slow, prefetch=1)
        async with bench.async_client(name="leaver") as client:
            call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(30)))
            await eventually(begun.is_set, "it is begun")
        with pytest.raises(errors.BrokerUnavailable):
            await call
        go.set()
        async with bench.async_client() as client:
            answer = await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(10))
        assert answer.kind == "k"
