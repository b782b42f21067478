"""The RPC server: from the broker's queues to a service's handlers, and their answers back.

Comes in: requests from shared queues and from fanout exchanges. Goes out: whatever the handlers
return, or the error they raise. One thread owns both connections (one consumes, one publishes);
handlers run on threads of their own, but for what takes only milliseconds. Connections come back
by themselves.

Shutdown, in this order and nowhere else: stop taking, finish, reply, acknowledge, close.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import threading
from collections.abc import Callable

import pika

from wire import errors, links, logs, messages, settings, topology
from wire.deadlines import Deadline
from wire.io_thread import IoThread
from wire.outbox import Outbox, Outgoing
from wire.requests import Request
from wire.subscriptions import Handler, InboxSource, Shortcut, Source, Subscription

__all__ = ["Handler", "Request", "RpcServer", "Subscription"]

BROADCAST_S = 2.0
"""Seconds a broadcast is kept while the broker cannot take it; then it is no news any more."""

INBOX_PREFETCH = 64
"""Unacknowledged messages of an inbox; they are small and quickly handled."""


class RpcServer:
    """Serves queues and inboxes. Call ``serve`` and ``subscribe`` before ``start``."""

    def __init__(
        self, broker: settings.Broker, role: topology.Role, name: str, connect: links.Connect = links.connect
    ) -> None:
        self._broker = broker
        self._role = role
        self._unique = f"{name}-{secrets.token_hex(6)}"
        self._inboxes = itertools.count(1)
        self._io = IoThread(f"server-{name}")
        full_name = f"{role}.{self._unique}"
        self._outbox = Outbox(broker, full_name, self._io, self._show, connect)
        self._link = links.Link(broker, f"{full_name}.consume", self, connect)
        self._subscriptions: list[Subscription] = []
        self._consuming = False
        self._stopped = False
        self._ready = threading.Event()
        self._moved = asyncio.Event()

    def serve(
        self,
        queue: str,
        handler: Handler,
        *,
        prefetch: int,
        threads: int = 1,
        shortcut: Shortcut | None = None,
        confirmed: bool = True,
    ) -> Subscription:
        """Work on a shared queue: ``prefetch`` requests are held here, ``threads`` worked on at once.

        The handler's Message is the reply; None means it replied by itself, or nobody asked. A
        WarrenError it raises travels as messages.Failure; MalformedBody also sends a copy of the
        request to the dead-letter exchange; anything else travels as InternalError and its
        traceback is logged. Requests whose deadline has passed never reach it. ``shortcut`` picks
        the requests that are handled where they arrive, without a change of threads. ``confirmed``
        False acknowledges a request once its reply is written; its requester must ask again.
        """
        return self._add(Source(queue), handler, prefetch, threads, shortcut, confirmed=confirmed)

    def subscribe(self, exchange: str, handler: Handler, *, threads: int = 1) -> Subscription:
        """Take what is sent to a fanout exchange, on a queue of this process's own, while connected."""
        source = InboxSource(exchange, self._inbox_name)
        return self._add(source, handler, INBOX_PREFETCH, threads)

    def broadcast(self, exchange: str, message: messages.Message) -> None:
        """Tell everybody behind a fanout exchange, be it nobody; from any thread, not waited for."""
        properties = pika.BasicProperties(type=message.TYPE)
        body, until = message.encode(), Deadline.after(BROADCAST_S)
        outgoing = Outgoing(exchange, "", body, properties, until, lambda: None, mandatory=False)
        self._outbox.submit(lambda: self._outbox.post(outgoing))

    def start(self) -> None:
        """Start the handler threads and connect in the background; returns at once."""
        for subscription in self._subscriptions:
            subscription.start()
        self._io.run(self._start(), self._broker.connect_timeout_s)

    def stop(self, drain_s: float) -> None:
        """Stop taking, finish, reply, acknowledge, close; what is not done in ``drain_s`` is given up.

        A request that is given up is delivered again, to another process. Stopping twice is harmless.
        """
        if self._stopped:
            return
        self._stopped = True
        deadline = Deadline.after(drain_s)
        for subscription in self._subscriptions:
            subscription.drain()
        self._io.run(self._wait_paused(deadline), drain_s + self._broker.connect_timeout_s)
        for subscription in self._subscriptions:
            subscription.join(deadline)
        self._io.run(self._close(deadline), drain_s + 5 * self._broker.connect_timeout_s)
        self._io.stop()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until every subscription takes deliveries (or is paused) and replies can be sent."""
        return self._ready.wait(timeout_s)

    @property
    def ready(self) -> bool:
        """Whether every subscription takes deliveries (or is paused) and replies can be sent."""
        return self._ready.is_set()

    @property
    def connected(self) -> bool:
        """Whether both connections are open."""
        return self._consuming and self._outbox.ready

    @property
    def blocked(self) -> bool:
        """Whether a broker alarm stops the replies of this process; they are sent when it is over."""
        return self._outbox.blocked

    # ------------------------------------------------------------------ on the I/O thread

    def link_opened(self, connection: links.Connection) -> None:
        """Open every subscription's channel (links.Listener)."""
        self._consuming = True
        for subscription in self._subscriptions:
            subscription.link_up(connection)
        self._show()

    def link_closed(self, error: errors.BrokerUnavailable) -> None:
        """Forget them (links.Listener)."""
        self._consuming = False
        for subscription in self._subscriptions:
            subscription.link_down()
        self._show()

    def link_blocked(self) -> None:
        """Never sent to a connection that does not publish (links.Listener)."""

    def link_unblocked(self) -> None:
        """Never sent either (links.Listener)."""

    async def _start(self) -> None:
        self._outbox.start()
        self._link.start()

    async def _wait_paused(self, deadline: Deadline) -> None:
        await self._until(lambda: not self._consuming or all(s.ready for s in self._subscriptions), deadline)

    async def _close(self, deadline: Deadline) -> None:
        self._outbox.closing = True
        await self._until(lambda: self._outbox.empty, deadline)
        await self._link.close()
        await self._outbox.close()
        logs.log("process.stopped", server=self._unique)

    async def _until(self, reached: Callable[[], bool], deadline: Deadline) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline.remaining_s):
                while not reached():
                    self._moved.clear()
                    await self._moved.wait()

    def _show(self) -> None:
        self._moved.set()
        if self._outbox.ready and self._consuming and all(s.ready for s in self._subscriptions):
            self._ready.set()
        else:
            self._ready.clear()

    def _add(
        self,
        source: Source,
        handler: Handler,
        prefetch: int,
        threads: int,
        shortcut: Shortcut | None = None,
        *,
        confirmed: bool = True,
    ) -> Subscription:
        subscription = Subscription(
            self._outbox,
            source,
            handler,
            prefetch=prefetch,
            threads=threads,
            longest_pause_s=self._broker.reconnect_max_s,
            changed=self._show,
            shortcut=shortcut,
            confirmed=confirmed,
        )
        self._subscriptions.append(subscription)
        return subscription

    def _inbox_name(self) -> str:
        return topology.inbox_queue(self._role, f"{self._unique}.{next(self._inboxes)}")
