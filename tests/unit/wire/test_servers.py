"""What a server does with odd requests, and with work when its connection or its time ends."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from tests.rabbit import connects, eventually, wait_until
from tests.unit.wire.memory_serving import serving
from wire import errors, messages, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline
from wire.memory import MemoryBroker
from wire.requests import Request


def request(**properties: Any) -> Request:
    """A request as it comes from the broker, outside of any connection."""
    method = SimpleNamespace(delivery_tag=1, redelivered=False)
    return Request(None, SimpleNamespace(is_open=False), method, pika.BasicProperties(**properties), b"")  # type: ignore[arg-type]


def test_the_time_left_is_read_from_header_or_expiration() -> None:
    assert request().deadline is None
    assert request(headers={"remaining_ms": "soon"}).deadline is None
    assert request(headers={"remaining_ms": [1]}).deadline is None
    by_header = request(headers={"remaining_ms": 5000}, expiration="90000").deadline
    by_expiration = request(expiration="5000").deadline
    assert by_header is not None
    assert by_expiration is not None
    assert 4 < by_header.remaining_s <= 5
    assert 4 < by_expiration.remaining_s <= 5


def test_a_request_of_a_lost_channel_is_stale() -> None:
    assert request().stale


async def test_work_that_was_not_begun_when_the_connection_was_lost_is_not_done_twice(
    memory: MemoryBroker, client: AsyncRpcClient
) -> None:
    begun, go, bodies = threading.Event(), threading.Event(), list[bytes]()

    def slow(request: Request) -> None:
        bodies.append(request.body)
        begun.set()
        go.wait(10)
        request.reply_raw(b"", "k")

    server = serving(memory, slow, prefetch=3)
    calls = [
        asyncio.create_task(client.call_raw(topology.PREDICT, body, "k", deadline=Deadline.after(10)))
        for body in (b"1", b"2", b"3")
    ]
    await eventually(begun.is_set, "the first is begun")
    before = connects("predictor.server", ".consume")
    memory.close_connections("predictor.server", ".consume")
    await eventually(lambda: connects("predictor.server", ".consume") > before, "the connection was lost and is back")
    await eventually(lambda: server.ready, "it takes deliveries again")
    go.set()
    await asyncio.gather(*calls)
    await asyncio.to_thread(server.stop, 5)
    assert sorted(bodies) == [b"1", b"1", b"2", b"3"]


async def test_a_server_that_gives_up_leaves_its_work_to_others(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    begun, forever = threading.Event(), threading.Event()

    def stuck(_request: Request) -> None:
        begun.set()
        forever.wait(20)

    server = serving(memory, stuck)
    call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(20)))
    await eventually(begun.is_set, "it is begun")
    await asyncio.to_thread(server.stop, 0.1)
    assert len(memory.queues[topology.PREDICT].ready) == 1
    forever.set()
    call.cancel()


def test_stopping_with_the_broker_away_takes_no_longer_than_the_drain(memory: MemoryBroker) -> None:
    server = serving(memory, lambda request: None)
    memory.stop()
    wait_until(lambda: not server.connected, "the connection is lost")
    server.broadcast(topology.PRESENCE, messages.PredictorAlive(predictor_id="p"))
    server.stop(0.3)


def test_a_message_without_marks_is_handed_to_the_handler_as_it_is(memory: MemoryBroker) -> None:
    seen: list[Request] = []
    server = serving(memory, seen.append, queue=topology.JOBS)
    client = memory.client("api", "plain")
    client.start()
    assert client.wait_connected(5)
    client.publish(topology.JOBS, b"body", properties=pika.BasicProperties())
    wait_until(lambda: seen, "it arrives")
    assert (seen[0].kind, seen[0].request_id, seen[0].reply_to, seen[0].deadline) == ("", "", "", None)
    client.close()
    server.stop(5)


def test_a_stale_request_is_left_to_whom_it_goes_next(memory: MemoryBroker) -> None:
    handled: list[Request] = []
    server = memory.server("predictor", "server")
    subscription = server.serve(topology.PREDICT, handled.append, prefetch=1)
    server.start()
    assert server.wait_ready(5)
    subscription._waiting.put(request())
    wait_until(subscription._waiting.empty, "it is taken")
    server.stop(5)
    assert handled == []


def test_a_retry_that_comes_without_a_connection_does_nothing(memory: MemoryBroker) -> None:
    server = memory.server("predictor", "server")
    subscription = server.serve(topology.PREDICT, lambda request: None, prefetch=1)
    subscription._open()
    server.start()
    assert server.wait_ready(5)
    server.stop(5)


async def test_a_connection_lost_while_draining_still_ends_the_threads(
    memory: MemoryBroker, client: AsyncRpcClient
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(_request: Request) -> None:
        begun.set()
        go.wait(10)

    server = serving(memory, slow)
    call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(20)))
    await eventually(begun.is_set, "it is begun")
    stopping = asyncio.create_task(asyncio.to_thread(server.stop, 10))
    await eventually(lambda: not memory.queues[topology.PREDICT].consumers, "it takes no more")
    before = connects("predictor.server", ".consume")
    memory.close_connections("predictor.server", ".consume")
    await eventually(
        lambda: not server.connected or connects("predictor.server", ".consume") > before, "the connection was lost"
    )
    go.set()
    await stopping
    call.cancel()


async def test_a_shortcut_picks_what_is_handled_where_it_arrives(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    where: list[tuple[bytes, str]] = []

    def handle(request: Request) -> messages.Message:
        where.append((request.body, threading.current_thread().name))
        return messages.Deleted()

    def shortcut(request: Request) -> Any:
        if request.body == b"odd":
            raise ValueError
        return handle if request.body == b"quick" else None

    server = memory.server("predictor", "server")
    server.serve(topology.PREDICT, handle, prefetch=1, shortcut=shortcut)
    server.start()
    assert server.wait_ready(5)
    for body in (b"quick", b"slow", b"odd"):
        await client.call_raw(topology.PREDICT, body, "k", deadline=Deadline.after(5))
    with pytest.raises(errors.DeadlineExceeded):
        await client.call_raw(topology.PREDICT, b"quick", "k", deadline=Deadline.after(0))
    await asyncio.to_thread(server.stop, 5)
    assert where == [
        (b"quick", "server-server"),
        (b"slow", f"{topology.PREDICT}-0"),
        (b"odd", f"{topology.PREDICT}-0"),
    ]
