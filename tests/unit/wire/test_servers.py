"""What a server does with odd requests, and with replies the broker does not take."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from tests.rabbit import eventually, wait_until
from wire import errors, messages, outbox, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline
from wire.memory import MemoryBroker
from wire.requests import Request
from wire.server import RpcServer


def request(**properties: Any) -> Request:
    """A request as it comes from the broker, outside of any connection."""
    method = SimpleNamespace(delivery_tag=1, redelivered=False)
    return Request(None, SimpleNamespace(is_open=False), method, pika.BasicProperties(**properties), b"")  # type: ignore[arg-type]


def serving(memory: MemoryBroker, handler: Any, queue: str = topology.PREDICT, prefetch: int = 1) -> RpcServer:
    server = memory.server("predictor", "server")
    server.serve(queue, handler, prefetch=prefetch)
    server.start()
    assert server.wait_ready(5)
    return server


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
    memory.close_connections("predictor.server", ".consume")
    await eventually(lambda: not server.connected, "the connection is lost")
    await eventually(lambda: server.ready, "it is back")
    go.set()
    await asyncio.gather(*calls)
    await asyncio.to_thread(server.stop, 5)
    assert sorted(bodies) == [b"1", b"1", b"2", b"3"]


async def test_a_reply_nobody_waits_for_any_more_is_given_up(
    memory: MemoryBroker, client: AsyncRpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(request: Request) -> None:
        begun.set()
        go.wait(10)
        request.reply_raw(b"late", "k")

    server = serving(memory, slow)
    call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(0.5)))
    await eventually(begun.is_set, "it is begun")
    memory.freeze()
    go.set()
    with pytest.raises(errors.DeadlineExceeded):
        await call
    # Sent, not confirmed in time, and by then of no use to anyone: acknowledged all the same.
    await eventually(lambda: memory.queues[topology.PREDICT].consumers[0].unacknowledged == 0, "it is given up")
    memory.thaw()
    await asyncio.to_thread(server.stop, 5)


async def test_a_reply_that_is_not_confirmed_is_sent_again(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(request: Request) -> None:
        begun.set()
        go.wait(10)
        request.reply_raw(b"at last", "k")

    server = serving(memory, slow)
    call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(20)))
    await eventually(begun.is_set, "it is begun")
    memory.freeze()
    go.set()
    await asyncio.sleep(0.5)
    assert not call.done()
    memory.thaw()
    assert (await call).body == b"at last"
    await asyncio.to_thread(server.stop, 5)


def test_more_waiting_replies_than_the_bound_are_dropped(memory: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_WAITING", 1)
    server = serving(memory, lambda request: None)
    memory.raise_alarm()
    for _ in range(5):
        server.broadcast(topology.PRESENCE, messages.PredictorAlive(predictor_id="p"))
    wait_until(lambda: server.blocked, "the alarm is felt")
    server.broadcast(topology.PRESENCE, messages.PredictorAlive(predictor_id="p"))
    memory.clear_alarm()
    wait_until(lambda: not server.blocked, "the alarm is over")
    server.stop(5)


def test_replies_to_nobody_are_not_sent(memory: MemoryBroker) -> None:
    handled = threading.Event()

    def answers(request: Request) -> messages.Message:
        handled.set()
        return messages.Deleted()

    server = memory.server("predictor", "listener")
    server.subscribe(topology.ANNOUNCE, answers)
    server.start()
    assert server.wait_ready(5)
    client = memory.client("trainer", "speaker")
    client.start()
    assert client.wait_connected(5)
    client.broadcast(topology.ANNOUNCE, messages.ForgetVersion(model="m"))
    assert handled.wait(5)
    client.close()
    server.stop(5)


async def test_a_reply_its_queue_refuses_is_dropped_and_the_work_acknowledged(
    memory: MemoryBroker, client: AsyncRpcClient
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(request: Request) -> None:
        begun.set()
        go.wait(10)
        request.reply_raw(b"", "k")

    server = serving(memory, slow)
    call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(1)))
    await eventually(begun.is_set, "it is begun")
    (reply_queue,) = (queue for name, queue in memory.queues.items() if name.startswith("reply."))
    reply_queue.arguments.update({"x-max-length": 0, "x-overflow": "reject-publish"})
    go.set()
    with pytest.raises(errors.DeadlineExceeded):
        await call
    await eventually(lambda: memory.queues[topology.PREDICT].consumers[0].unacknowledged == 0, "it is acknowledged")
    await asyncio.to_thread(server.stop, 5)


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


def test_several_replies_wait_for_the_end_of_an_alarm(memory: MemoryBroker) -> None:
    heard: list[bytes] = []
    listener = memory.server("trainer", "listener")
    listener.subscribe(topology.PRESENCE, lambda request: heard.append(request.body))
    listener.start()
    assert listener.wait_ready(5)
    speaker = serving(memory, lambda request: None)
    memory.raise_alarm()
    for _ in range(3):
        speaker.broadcast(topology.PRESENCE, messages.PredictorAlive(predictor_id="p"))
    wait_until(lambda: speaker.blocked, "the alarm is felt")
    memory.clear_alarm()
    wait_until(lambda: len(heard) >= 3, "all are heard")
    speaker.stop(5)
    listener.stop(5)


async def test_a_stopping_server_waits_for_the_confirm_of_its_last_reply(
    memory: MemoryBroker, client: AsyncRpcClient
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(request: Request) -> None:
        begun.set()
        go.wait(10)
        request.reply_raw(b"last", "k")

    server = serving(memory, slow)
    call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(20)))
    await eventually(begun.is_set, "it is begun")
    stopping = asyncio.create_task(asyncio.to_thread(server.stop, 10))
    await eventually(lambda: not memory.queues[topology.PREDICT].consumers, "it takes no more")
    memory.raise_alarm()
    go.set()
    await eventually(lambda: server.blocked, "the reply is stopped")
    assert not stopping.done()
    memory.clear_alarm()
    assert (await call).body == b"last"
    await stopping


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
    memory.close_connections("predictor.server", ".consume")
    await eventually(lambda: not server.connected, "the connection is lost")
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
