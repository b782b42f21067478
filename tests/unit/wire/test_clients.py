"""The clients' bounds, and the ways a call ends that no broker brings about."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.rabbit import eventually, wait_until
from wire import async_client, errors, messages, publisher, replies, topology
from wire import client as thread_clients
from wire.async_client import AsyncRpcClient
from wire.client import ReplyStream, RpcClient
from wire.deadlines import Deadline
from wire.io_thread import IoThread
from wire.memory import MemoryBroker
from wire.server import Request


def test_a_stream_that_nobody_reads_fails_instead_of_growing(
    thread_client: RpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_clients, "STREAM_BOUND", 3)
    stream = ReplyStream(thread_client)
    for number in range(10):
        stream.take(replies.Delivery("k", str(number).encode()))
    assert [stream.next(1).body for _ in range(3)] == [b"0", b"1", b"2"]
    for _ in range(2):
        with pytest.raises(errors.Overloaded):
            stream.next(1)


async def test_too_many_unconfirmed_messages_are_overload(
    client: AsyncRpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_UNCONFIRMED", 2)
    outcomes = await asyncio.gather(*(client.publish(topology.JOBS, b"") for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 2 + [errors.Overloaded] * 3


async def test_a_reply_that_comes_after_the_deadline_is_dropped(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    go = threading.Event()
    server = memory.server("predictor", "slow")
    server.serve(topology.PREDICT, lambda request: request.reply_raw(b"", "k") if go.wait(10) else None, prefetch=1)
    server.start()
    assert server.wait_ready(5)
    with pytest.raises(errors.DeadlineExceeded):
        await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(0.1))
    go.set()
    await asyncio.to_thread(server.stop, 5)


async def test_answers_in_the_same_turn_as_the_end_of_a_call_are_harmless(
    memory: MemoryBroker, client: AsyncRpcClient
) -> None:
    server = memory.server("predictor", "twice")

    def twice(request: Request) -> None:
        for _ in range(2):
            request.reply_raw(b"", "k")

    server.serve(topology.PREDICT, twice, prefetch=1)
    server.start()
    assert server.wait_ready(5)
    for _ in range(20):
        await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(5))
    await asyncio.to_thread(server.stop, 5)


async def test_an_abandoned_publish_is_harmless(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    publishing = asyncio.create_task(client.publish(topology.JOBS, b""))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    await eventually(lambda: len(memory.queues[topology.JOBS].ready) == 1, "the broker has it")


async def test_an_alarm_fails_calls_publishes_and_unconfirmed_streams(
    memory: MemoryBroker, client: AsyncRpcClient
) -> None:
    failed: list[errors.WarrenError] = []

    class Listening:
        def take(self, delivery: replies.Delivery) -> None:
            raise AssertionError(delivery)

        def fail(self, error: errors.WarrenError) -> None:
            failed.append(error)

    confirmed = client.open_stream(topology.TRAIN, b"", "k", Listening(), routing_key=topology.TRAIN)
    await eventually(lambda: memory.queues[topology.TRAIN].ready, "the broker has the stream's request")
    await client.publish(topology.JOBS, b"")
    memory.raise_alarm()
    client.open_stream(topology.TRAIN, b"", "k", Listening(), routing_key=topology.TRAIN)
    with pytest.raises(errors.BrokerUnavailable):
        await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(30))
    assert client.blocked
    assert len(failed) == 1
    memory.clear_alarm()
    await eventually(lambda: not client.blocked, "the alarm is over")
    await client.publish(topology.JOBS, b"")
    client.close_stream(confirmed)
    assert len(failed) == 1


async def test_an_unconfirmed_message_is_given_up_in_time(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    memory.freeze()
    first = asyncio.create_task(client.publish(topology.JOBS, b""))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(client.publish(topology.JOBS, b""))
    for publishing in (first, second):
        with pytest.raises(errors.BrokerUnavailable, match="confirm"):
            await publishing
    memory.thaw()
    await client.publish(topology.JOBS, b"")


def test_a_stuck_io_thread_is_a_passed_deadline() -> None:
    io = IoThread("stuck")
    io.run(asyncio.sleep(0), 30)
    with pytest.raises(errors.DeadlineExceeded):
        io.run(asyncio.sleep(60), 1)
    io.stop()


def test_what_comes_after_the_end_of_the_io_thread_is_dropped() -> None:
    io = IoThread("ended")
    io.stop()
    io.soon(lambda: None)


def test_a_client_closes_in_the_middle_of_a_stream(memory: MemoryBroker) -> None:
    client = memory.client("worker", "leaver")
    client.start()
    assert client.wait_connected(5)
    assert not client.blocked
    with client.stream(topology.TRAIN, messages.ListModels()) as stream:
        client.close()
        with pytest.raises(errors.BrokerUnavailable):
            stream.next(5)
    wait_until(lambda: not memory.connections, "its connections are gone")


async def test_the_deadline_of_an_answered_call_does_nothing() -> None:
    answered: asyncio.Future[replies.Delivery] = asyncio.get_running_loop().create_future()
    answered.set_result(replies.Delivery("k", b""))
    async_client._expire(answered)
    assert answered.result().kind == "k"


async def test_a_return_that_comes_after_its_message_was_given_up_is_ignored(
    memory: MemoryBroker, client: AsyncRpcClient
) -> None:
    memory.freeze()
    with pytest.raises(errors.BrokerUnavailable):
        await client.publish(topology.JOBS, b"", routing_key="nobody")
    memory.thaw()
    await client.publish(topology.JOBS, b"")


async def test_a_question_ends_with_its_connection(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    await client.queue_state(topology.JOBS)
    memory.freeze()
    asking = asyncio.create_task(client.queue_state(topology.JOBS))
    await asyncio.sleep(0)
    memory.close_connections("replies")
    with pytest.raises(errors.BrokerUnavailable):
        await asking
    memory.thaw()


async def test_nothing_is_asked_while_no_answer_could_come(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    memory.down = True
    memory.close_connections("replies")
    await eventually(lambda: not client.connected, "the reply queue is gone")
    with pytest.raises(errors.BrokerUnavailable):
        await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(5))


async def test_a_question_nobody_answers_ends_in_time_and_renews_the_connection(
    memory: MemoryBroker, client: AsyncRpcClient
) -> None:
    memory.freeze()
    with pytest.raises(errors.BrokerUnavailable):
        await client.queue_state(topology.JOBS)
    await eventually(lambda: not client.connected, "the mute connection is dropped")
    memory.thaw()
    assert await client.wait_connected(5)
    assert await client.queue_state(topology.JOBS) == (0, 0)


async def test_a_channel_that_closed_this_moment_is_unavailable(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    (connection,) = (one for one in memory.connections if one.name.endswith(".publish"))
    connection.channels[0].is_open = False
    with pytest.raises(errors.BrokerUnavailable):
        await client.publish(topology.JOBS, b"")


def test_the_end_of_an_alarm_before_the_channel_is_open_starts_nothing(memory: MemoryBroker) -> None:
    class Nobody:
        def publisher_up(self) -> None:
            raise AssertionError

        publisher_down = publisher_up

    publisher.Publisher(memory.settings, "early", Nobody(), memory.connect).link_unblocked()  # type: ignore[arg-type]
