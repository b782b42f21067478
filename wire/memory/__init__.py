"""A broker in memory, in place of RabbitMQ, for tests of what stands on wire.

Comes in: the connections of wire's own clients and servers, from any number of event loops and
threads of one process. Goes out: the same behaviour as RabbitMQ's in what the gateway uses,
returns, refusals, expirations, redeliveries, alarms and lost connections included; tests/contract
runs one suite on both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

from pika import exceptions

from wire import links, settings, topology
from wire.async_client import AsyncRpcClient
from wire.client import RpcClient
from wire.memory.connections import MemoryConnection
from wire.memory.queues import MemoryQueue
from wire.server import RpcServer

__all__ = ["MemoryBroker"]


class MemoryBroker:
    """One broker, with the whole topology declared. ``settings`` sets the time-outs of its clients."""

    def __init__(self, broker: settings.Broker | None = None) -> None:
        self.settings = broker or settings.Broker()
        self.lock = threading.RLock()
        self.connections: list[MemoryConnection] = []
        self.queues = {queue.name: MemoryQueue(queue.name, dict(queue.arguments)) for queue in topology.QUEUES}
        self.down = False
        self.alarm = False
        self.frozen = False
        self._kinds = {exchange.name: exchange.kind for exchange in topology.EXCHANGES}
        self._bindings: dict[tuple[str, str], list[str]] = {}
        for queue in topology.QUEUES:
            self.bind(queue.name, queue.name, queue.name)

    def async_client(self, role: topology.Role, name: str) -> AsyncRpcClient:
        """A client for the running loop."""
        return AsyncRpcClient(self.settings, role, name, self.connect)

    def client(self, role: topology.Role, name: str) -> RpcClient:
        """A client for threads."""
        return RpcClient(self.settings, role, name, self.connect)

    def server(self, role: topology.Role, name: str) -> RpcServer:
        """A server."""
        return RpcServer(self.settings, role, name, self.connect)

    # ------------------------------------------------------------------ faults

    def close_connections(self, *parts_of_name: str) -> None:
        """Close the connections whose name contains all of this, as an operator may."""
        error = exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED")
        for connection in tuple(self.connections):
            if all(part in connection.name for part in parts_of_name):
                connection.soon(connection.lose, error)

    def stop(self) -> None:
        """Close every connection and open none until ``start``; shared queues keep their messages."""
        self.down = True
        self.close_connections()

    def start(self) -> None:
        """Open connections again."""
        self.down = False

    def raise_alarm(self) -> None:
        """Block whoever publishes, from its next message on."""
        self.alarm = True

    def clear_alarm(self) -> None:
        """Take what was held back, and tell those who were blocked."""
        self.alarm = False
        for connection in self._take_held():
            connection.soon(connection.on_unblocked, connection, None)

    def freeze(self) -> None:
        """Take in what is published and asked, and say nothing, as a machine that hangs."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on where it stopped."""
        self.frozen = False
        self._take_held()

    def delete_queue(self, name: str) -> None:
        """Delete a queue; its consumers are told."""
        with self.lock:
            queue = self.queues.pop(name)
            self._unbind(name)
            for connection in self.connections:
                for channel in connection.channels:
                    channel.queue_deleted(queue)

    def declare_queue(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Declare a shared queue, bound to the exchange of its name."""
        with self.lock:
            self.queues[name] = MemoryQueue(name, arguments or {})
            self.bind(name, name, name)

    # ------------------------------------------------------------------ for connections and channels

    def connect(
        self,
        _broker: settings.Broker,
        name: str,
        on_open: Callable[[Any], None],
        on_open_error: Callable[[Any, Any], None],
        on_close: Callable[[Any, Any], None],
    ) -> links.Connection:
        """Start connecting (links.Connect)."""
        connection = MemoryConnection(self, name, on_open, on_open_error, on_close)
        return cast(links.Connection, connection)

    def bind(self, exchange: str, routing_key: str, queue: str) -> None:
        """Route messages of this key to this queue; a fanout exchange ignores keys."""
        self._bindings.setdefault((exchange, self._key(exchange, routing_key)), []).append(queue)

    def route(self, exchange: str, routing_key: str) -> list[MemoryQueue] | None:
        """The queues a message goes to; None when there is no such exchange."""
        if exchange not in self._kinds:
            return None
        names = self._bindings.get((exchange, self._key(exchange, routing_key)), [])
        return [self.queues[name] for name in names]

    def forget(self, connection: MemoryConnection) -> None:
        """A connection ended: its exclusive queues go with it."""
        if connection in self.connections:
            self.connections.remove(connection)
        for queue in tuple(self.queues.values()):
            if queue.owner is connection:
                del self.queues[queue.name]
                self._unbind(queue.name)

    def _take_held(self) -> list[MemoryConnection]:
        with self.lock:
            holding = [connection for connection in self.connections if connection.held]
            for connection in holding:
                held, connection.held = connection.held, []
                for publish in held:
                    publish()
        return holding

    def _key(self, exchange: str, routing_key: str) -> str:
        return "" if self._kinds.get(exchange) == "fanout" else routing_key

    def _unbind(self, queue: str) -> None:
        for bound in self._bindings.values():
            if queue in bound:
                bound.remove(queue)
