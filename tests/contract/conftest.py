"""The two brokers the contract suite runs on: RabbitMQ itself, and the one in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from tests.rabbit import Rabbit
from wire import settings, topology
from wire.async_client import AsyncRpcClient
from wire.client import RpcClient
from wire.memory import MemoryBroker
from wire.server import RpcServer

PATIENCE = {"confirm_timeout_s": 20.0, "connect_timeout_s": 10.0}
"""No test here waits for these to end, and a busy machine may take longer than in production."""


class Bench:
    """Clients and servers of one broker, ended with the test."""

    def __init__(self) -> None:
        self.stack = ExitStack()

    def _async_client(self, role: topology.Role, name: str) -> AsyncRpcClient:
        raise NotImplementedError

    def _client(self, role: topology.Role, name: str) -> RpcClient:
        raise NotImplementedError

    def _server(self, role: topology.Role, name: str) -> RpcServer:
        raise NotImplementedError

    def close_connections(self, *parts_of_name: str) -> None:
        raise NotImplementedError

    def close_publishing(self, name: str) -> None:
        self.close_connections(f"{name}-", ".publish")

    def delete_queue(self, name: str) -> None:
        raise NotImplementedError

    def declare_queue(self, name: str, arguments: dict[str, Any]) -> None:
        raise NotImplementedError

    @asynccontextmanager
    async def async_client(self, role: topology.Role = "api", name: str = "replica") -> AsyncIterator[AsyncRpcClient]:
        client = self._async_client(role, name)
        await client.start()
        assert await client.wait_connected(15)
        try:
            yield client
        finally:
            await client.close()

    def client(self, role: topology.Role = "worker", name: str = "worker") -> RpcClient:
        client = self._client(role, name)
        client.start()
        self.stack.callback(client.close)
        assert client.wait_connected(15)
        return client

    def server(self, role: topology.Role = "predictor", name: str = "predictor") -> RpcServer:
        return self._server(role, name)

    def start(self, server: RpcServer, drain_s: float = 5) -> RpcServer:
        server.start()
        self.stack.callback(server.stop, drain_s)
        assert server.wait_ready(15)
        return server


class MemoryBench(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryBroker(settings.Broker(**PATIENCE))

    def _async_client(self, role: topology.Role, name: str) -> AsyncRpcClient:
        return self.memory.async_client(role, name)

    def _client(self, role: topology.Role, name: str) -> RpcClient:
        return self.memory.client(role, name)

    def _server(self, role: topology.Role, name: str) -> RpcServer:
        return self.memory.server(role, name)

    def close_connections(self, *parts_of_name: str) -> None:
        self.memory.close_connections(*parts_of_name)

    def delete_queue(self, name: str) -> None:
        self.memory.delete_queue(name)

    def declare_queue(self, name: str, arguments: dict[str, Any]) -> None:
        self.memory.declare_queue(name, arguments)


class RabbitBench(Bench):
    def __init__(self, rabbit: Rabbit, broker: settings.Broker) -> None:
        super().__init__()
        self.rabbit = rabbit
        self.broker = broker.model_copy(update=PATIENCE)

    def _async_client(self, role: topology.Role, name: str) -> AsyncRpcClient:
        return AsyncRpcClient(self.broker, role, name)

    def _client(self, role: topology.Role, name: str) -> RpcClient:
        return RpcClient(self.broker, role, name)

    def _server(self, role: topology.Role, name: str) -> RpcServer:
        return RpcServer(self.broker, role, name)

    def close_connections(self, *parts_of_name: str) -> None:
        self.rabbit.close_connections(self.broker.vhost, *parts_of_name)

    def delete_queue(self, name: str) -> None:
        with self.rabbit.channel(self.broker.vhost) as channel:
            channel.queue_delete(name)

    def declare_queue(self, name: str, arguments: dict[str, Any]) -> None:
        with self.rabbit.channel(self.broker.vhost) as channel:
            channel.queue_declare(name, durable=True, arguments=arguments)
            channel.queue_bind(name, name, routing_key=name)


@contextmanager
def ended(bench: Bench) -> Iterator[Bench]:
    with bench.stack:
        yield bench


@pytest.fixture(autouse=True)
def slow_io_threads_are_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.client._GRACE_S", 30.0)


@pytest.fixture(params=["memory", "rabbitmq"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "memory":
        with ended(MemoryBench()) as made:
            yield made
        return
    rabbit = request.getfixturevalue("rabbitmq")
    with ended(RabbitBench(rabbit, request.getfixturevalue("broker"))) as made:
        yield made
