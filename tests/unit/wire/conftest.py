"""The broker in memory, for what needs no RabbitMQ to be seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from wire import settings
from wire.async_client import AsyncRpcClient
from wire.client import RpcClient
from wire.memory import MemoryBroker


@pytest.fixture
def memory() -> MemoryBroker:
    return MemoryBroker(settings.Broker(confirm_timeout_s=0.3, connect_timeout_s=1, reconnect_max_s=0.2))


@pytest.fixture
async def client(memory: MemoryBroker) -> AsyncIterator[AsyncRpcClient]:
    made = memory.async_client("api", "replica")
    await made.start()
    assert await made.wait_connected(5)
    yield made
    await made.close()


@pytest.fixture
def thread_client(memory: MemoryBroker) -> Iterator[RpcClient]:
    made = memory.client("worker", "worker")
    made.start()
    assert made.wait_connected(5)
    yield made
    made.close()
