"""How a connection comes back, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rabbit import Rabbit, eventually
from wire import errors, links, settings, topology
from wire.async_client import AsyncRpcClient
from wire.memory import MemoryBroker


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_pauses_grow_are_bounded_and_differ() -> None:
    assert all(0.1 <= links.pause_s(1, 2.0) <= 0.2 for _ in range(100))
    assert all(1.0 <= links.pause_s(50, 2.0) <= 2.0 for _ in range(100))
    assert len({links.pause_s(50, 2.0) for _ in range(100)}) > 1


async def test_a_client_started_before_the_broker_connects_when_it_comes(memory: MemoryBroker) -> None:
    memory.stop()
    client = memory.async_client("api", "early")
    await client.start()
    assert not await client.wait_connected(0.2)
    memory.start()
    assert await client.wait_connected(5)
    await client.close()


async def test_a_connection_that_lived_is_opened_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "_STABLE_S", 0.0)
    monkeypatch.setattr(links, "_FIRST_PAUSE_S", 60.0)
    memory = MemoryBroker(settings.Broker(reconnect_max_s=60))
    client = memory.async_client("api", "steady")
    await client.start()
    assert await client.wait_connected(5)
    before = tuple(memory.connections)
    memory.close_connections()
    await eventually(lambda: not {*before} & {*memory.connections}, "the connections are lost")
    assert await client.wait_connected(5)
    await client.close()


async def test_closing_between_two_attempts_ends_the_attempts(memory: MemoryBroker) -> None:
    memory.stop()
    client = memory.async_client("api", "early")
    await client.start()
    assert not await client.wait_connected(0.05)
    await client.close()
    memory.start()
    assert not await client.wait_connected(0.3)


async def test_closing_while_connecting_gives_up(memory: MemoryBroker) -> None:
    client = memory.async_client("api", "hasty")
    await client.start()
    await client.close()
    assert not client.connected


async def test_closing_does_not_wait_for_a_broker_that_never_answers(silent_port: int) -> None:
    broker = settings.Broker(port=silent_port, connect_timeout_s=0.5)
    client = AsyncRpcClient(broker, "api", "patient")
    await client.start()
    assert not await client.wait_connected(0.1)
    async with asyncio.timeout(5):
        await client.close()


async def test_a_broker_that_never_answers_is_tried_again(silent_port: int) -> None:
    broker = settings.Broker(port=silent_port, connect_timeout_s=0.2, reconnect_max_s=0.1)
    client = AsyncRpcClient(broker, "api", "patient")
    await client.start()
    assert not await client.wait_connected(1)
    await client.close()


async def test_a_missing_password_file_is_tried_again(tmp_path: Path, broker: settings.Broker) -> None:
    password_file = tmp_path / "password"
    client = AsyncRpcClient(broker.model_copy(update={"password_file": password_file}), "api", "early")
    await client.start()
    assert not await client.wait_connected(0.3)
    password_file.write_text("guest\n")
    assert await client.wait_connected(15)
    await client.close()


async def test_a_wrong_password_is_no_end_either(tmp_path: Path, broker: settings.Broker) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("wrong")
    client = AsyncRpcClient(broker.model_copy(update={"password_file": password_file}), "api", "stranger")
    await client.start()
    assert not await client.wait_connected(1)
    with pytest.raises(errors.BrokerUnavailable):
        await client.publish(topology.JOBS, b"")
    password_file.write_text("guest")
    assert await client.wait_connected(15)
    await client.close()


async def test_a_message_larger_than_the_sockets_buffer_arrives_whole(
    rabbitmq: Rabbit, broker: settings.Broker
) -> None:
    client = AsyncRpcClient(broker.model_copy(update={"confirm_timeout_s": 20.0}), "api", "large")
    await client.start()
    assert await client.wait_connected(15)
    body = bytes(range(256)) * 4096 * 8
    await asyncio.gather(*(client.publish(topology.JOBS, body) for _ in range(3)))
    await client.close()
    with rabbitmq.channel(broker.vhost) as channel:
        for _ in range(3):
            assert channel.basic_get(topology.JOBS, auto_ack=True)[2] == body


async def test_a_missing_exchange_drops_the_connection_and_it_comes_back(memory: MemoryBroker) -> None:
    client = memory.async_client("api", "lost")
    await client.start()
    assert await client.wait_connected(5)
    with pytest.raises(errors.BrokerUnavailable):
        await client.publish("warren.nothing.v1", b"")
    assert await client.wait_connected(5)
    await client.publish(topology.JOBS, b"")
    await client.close()


async def test_a_reply_queue_that_was_deleted_is_made_anew(memory: MemoryBroker, client: AsyncRpcClient) -> None:
    (reply_queue,) = (name for name in memory.queues if name.startswith("reply."))
    memory.delete_queue(reply_queue)
    await eventually(lambda: client._inbox.reply_to not in ("", reply_queue), "it is made anew")
    assert await client.wait_connected(5)
    assert [name for name in memory.queues if name.startswith("reply.")] != [reply_queue]
