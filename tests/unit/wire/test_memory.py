"""The corners of the broker in memory that wire's own clients and servers rarely reach."""

from __future__ import annotations

import asyncio
from typing import Any

import pika
import pytest
from pika import exceptions

from tests.rabbit import eventually, wait_until
from wire import links, messages, topology
from wire.async_client import AsyncRpcClient
from wire.memory import MemoryBroker


async def opened(memory: MemoryBroker) -> Any:
    """An open connection."""
    ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    memory.connect(memory.settings, "bare", ready.set_result, lambda *_: None, lambda *_: None)
    return await ready


async def test_what_is_under_way_to_a_cancelled_consumer_goes_back(memory: MemoryBroker) -> None:
    connection = await opened(memory)
    channel = connection.channel(lambda _channel: None)
    got: list[bytes] = []
    tag = channel.basic_consume(topology.JOBS, lambda *args: got.append(args[3]))
    channel.basic_publish(topology.JOBS, topology.JOBS, b"1", pika.BasicProperties(), True)
    channel.basic_cancel(tag, lambda _frame: None)
    await asyncio.sleep(0.01)
    (message,) = memory.queues[topology.JOBS].ready
    assert (got, message.body, message.redelivered) == ([], b"1", True)


async def test_what_is_under_way_to_a_closed_channel_goes_back_once(memory: MemoryBroker) -> None:
    connection = await opened(memory)
    channel = connection.channel(lambda _channel: None)
    channel.close()
    channel.close()
    channel.basic_consume(topology.JOBS, lambda *args: None)
    channel.basic_publish(topology.JOBS, topology.JOBS, b"1", pika.BasicProperties(), True)
    await asyncio.sleep(0.01)
    assert len(memory.queues[topology.JOBS].ready) == 1
    with pytest.raises(exceptions.ChannelWrongStateError):
        channel.basic_publish(topology.JOBS, topology.JOBS, b"2", pika.BasicProperties(), True)


async def test_a_message_that_is_too_large_closes_its_channel(memory: MemoryBroker) -> None:
    connection = await opened(memory)
    channel = connection.channel(lambda _channel: None)
    closed: list[Any] = []
    channel.add_on_close_callback(lambda _channel, reason: closed.append(reason))
    for size_bytes in (topology.MAX_MESSAGE_BYTES, topology.MAX_MESSAGE_BYTES + 1):
        channel.basic_publish(topology.JOBS, topology.JOBS, bytes(size_bytes), pika.BasicProperties(), True)
    await eventually(lambda: closed, "the channel is closed")
    assert [reason.reply_code for reason in closed] == [406]
    assert len(memory.queues[topology.JOBS].ready) == 1


async def test_a_connection_is_lost_once(memory: MemoryBroker) -> None:
    connection = await opened(memory)
    memory.close_connections()
    memory.close_connections()
    await asyncio.sleep(0.01)
    assert connection.is_closed
    assert memory.connections == []


def test_connections_of_an_ended_loop_are_left_alone(memory: MemoryBroker) -> None:
    asyncio.run(opened(memory))
    memory.close_connections()


async def test_a_full_queue_that_refuses_nothing_drops_its_oldest(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    memory.declare_queue(topology.DEAD, {"x-max-length": 1})
    for body in (b"1", b"2"):
        await client.publish(topology.DEAD, body)
    assert [message.body for message in memory.queues[topology.DEAD].ready] == [b"2"]


def test_deleting_a_queue_leaves_other_consumers_alone(memory: MemoryBroker) -> None:
    server = memory.server("predictor", "both")
    for queue in (topology.PREDICT, topology.MODELS):
        server.serve(queue, lambda _request: messages.Deleted(), prefetch=1)
    server.start()
    assert server.wait_ready(5)
    memory.delete_queue(topology.MODELS)
    wait_until(lambda: not server.ready, "it notices")
    assert len(memory.queues[topology.PREDICT].consumers) == 1
    server.stop(5)


async def test_several_confirms_come_as_one(memory: MemoryBroker) -> None:
    connection = await opened(memory)
    channel = connection.channel(lambda _channel: None)
    confirms: list[tuple[str, int, bool]] = []

    def confirmed(frame: Any) -> None:
        confirms.append((frame.method.NAME, frame.method.delivery_tag, frame.method.multiple))

    channel.confirm_delivery(confirmed, lambda _frame: None)
    for _ in range(3):
        channel.basic_publish(topology.JOBS, topology.JOBS, b"", pika.BasicProperties(), True)
    await asyncio.sleep(0.01)
    memory.declare_queue("full", {"x-max-length": 0, "x-overflow": "reject-publish"})
    memory.bind(topology.DEAD, "full", "full")
    for key in (topology.DEAD, "full"):
        channel.basic_publish(topology.DEAD, key, b"", pika.BasicProperties(), True)
    await asyncio.sleep(0.01)
    assert confirms == [("Basic.Ack", 3, True), ("Basic.Ack", 4, False), ("Basic.Nack", 5, False)]


async def test_a_link_closed_while_it_connects_never_opens(memory: MemoryBroker) -> None:
    class Nobody:
        def link_opened(self, connection: links.Connection) -> None:
            raise AssertionError

        link_closed = link_blocked = link_unblocked = link_opened

    link = links.Link(memory.settings, "hasty", Nobody(), memory.connect)  # type: ignore[arg-type]
    link.renew()
    link.start()
    await link.close()
    assert memory.connections == []
