"""What a server does with replies that are late, stopped, refused or not confirmed."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.rabbit import eventually, wait_until
from tests.unit.wire.memory_serving import serving
from wire import errors, messages, outbox, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline
from wire.memory import MemoryBroker
from wire.requests import Request


async def test_a_reply_nobody_waits_for_any_more_is_given_up(
    memory: MemoryBroker, client: AsyncRpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(request: Request) -> None:
        begun.set()
        go.wait(10)
        request.reply_raw(b"late", "k")

    server = serving(memory, slow)
    call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(3)))
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
    call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(3)))
    await eventually(begun.is_set, "it is begun")
    (reply_queue,) = (queue for name, queue in memory.queues.items() if name.startswith("reply."))
    reply_queue.arguments.update({"x-max-length": 0, "x-overflow": "reject-publish"})
    go.set()
    with pytest.raises(errors.DeadlineExceeded):
        await call
    await eventually(lambda: memory.queues[topology.PREDICT].consumers[0].unacknowledged == 0, "it is acknowledged")
    await asyncio.to_thread(server.stop, 5)


def test_several_replies_wait_for_the_end_of_an_alarm(memory: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.server.BROADCAST_S", 60.0)
    heard: list[bytes] = []
    listener = memory.server("trainer", "listener")
    listener.subscribe(topology.PRESENCE, lambda request: heard.append(request.body))
    listener.start()
    assert listener.wait_ready(5)
    speaker = serving(memory, lambda request: None)
    memory.raise_alarm()
    said = [messages.PredictorAlive(predictor_id=name) for name in ("one", "two", "three")]
    speaker.broadcast(topology.PRESENCE, said[0])
    wait_until(lambda: speaker.blocked, "the alarm is felt")
    for message in said[1:]:
        speaker.broadcast(topology.PRESENCE, message)
    memory.clear_alarm()
    wait_until(lambda: {*heard} == {message.encode() for message in said}, "all are heard")
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
