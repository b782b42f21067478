"""The RPC client of an event loop: from a replica's routes to the broker, and the answers back.

Comes in: a message, the queue it is for, a deadline. Goes out: the answer, or an error at once
when there is nobody to ask. Futures are kept by correlation id (a random prefix per process and
a counter). A call depends on two connections, one that publishes and one that receives; when
either is lost, every open call fails with BrokerUnavailable and the caller decides about a
retry. Nothing waits for a connection: without one a call fails at once.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import secrets
from typing import Any, TypeVar

import pika

from wire import errors, links, logs, messages, replies, settings, telemetry, topology
from wire.deadlines import Deadline
from wire.publisher import Publisher
from wire.replies import Delivery, QueueState, Sink

__all__ = ["AsyncRpcClient", "Delivery", "QueueState", "Sink"]

M = TypeVar("M", bound=messages.Message)

PERSISTENT = 2
"""AMQP delivery mode of a message that survives a restart of the broker."""


class AsyncRpcClient:
    """Calls and publishes from one event loop. Not for use from other threads: see wire.client."""

    def __init__(
        self, broker: settings.Broker, role: topology.Role, name: str, connect: links.Connect = links.connect
    ) -> None:
        unique = f"{name}-{secrets.token_hex(6)}"
        self._publisher = Publisher(broker, f"{role}.{unique}.publish", self, connect)
        self._inbox = replies.ReplyInbox(broker, role, unique, self, self._take, connect)
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._calls: dict[str, asyncio.Future[Delivery]] = {}
        self._streams: dict[str, Sink] = {}
        self._unconfirmed: set[str] = set()
        self._publishes: dict[str, asyncio.Future[None]] = {}
        self._up = asyncio.Event()
        # One object serves every call: pika writes it to bytes before send() returns.
        self._headers: dict[str, Any] = {}
        self._properties = pika.BasicProperties(headers=self._headers)

    async def start(self) -> None:
        """Connect in the background; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._publisher.start()
        self._inbox.start()

    async def wait_connected(self, timeout_s: float) -> bool:
        """Wait until calls can be made; False when that took longer."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Fail what is open with BrokerUnavailable and close both connections."""
        await asyncio.gather(self._publisher.close(), self._inbox.close())

    @property
    def connected(self) -> bool:
        """Whether both connections are open and the reply queue is there."""
        return self._up.is_set()

    @property
    def blocked(self) -> bool:
        """Whether a broker alarm stops what this process publishes; calls then fail at once."""
        return self._publisher.blocked

    async def call(
        self, queue: str, message: messages.Message, expect: type[M], *, deadline: Deadline, request_id: str = ""
    ) -> M:
        """Ask whoever serves ``queue`` and read the answer as ``expect``.

        Raises the error the answer carries, InternalError for an answer of another kind, and what
        ``call_raw`` raises.
        """
        body = message.encode()
        return replies.read(
            await self.call_raw(queue, body, message.TYPE, deadline=deadline, request_id=request_id), expect
        )

    async def call_raw(
        self, queue: str, body: bytes, kind: str, *, deadline: Deadline, request_id: str = ""
    ) -> Delivery:
        """Ask whoever serves ``queue``; the answer undecoded, a messages.Failure included.

        Raises Unroutable (no such queue), Overloaded (it is full), TooLarge, DeadlineExceeded, and
        BrokerUnavailable (no connection, a lost one, an alarm, no confirm in time).
        """
        loop = self._loop
        started = loop.time()
        future: asyncio.Future[Delivery] = loop.create_future()
        key = f"{self._prefix}{next(self._numbers):x}"
        self._calls[key] = future
        remaining_ms = deadline.remaining_ms
        timer = loop.call_later(remaining_ms / 1000, _expire, future)
        try:
            if remaining_ms == 0:
                raise errors.DeadlineExceeded
            self._send(queue, queue, body, kind, key, request_id, remaining_ms)
            delivery = await future
        except errors.WarrenError as error:
            telemetry.rpc_failures.labels(queue, error.code).inc()
            raise
        finally:
            del self._calls[key]
            timer.cancel()
        telemetry.observe_rpc(queue, loop.time() - started)
        return delivery

    async def publish(
        self,
        exchange: str,
        body: bytes,
        *,
        routing_key: str | None = None,
        kind: str = "",
        headers: dict[str, Any] | None = None,
        properties: pika.BasicProperties | None = None,
    ) -> None:
        """Publish one persistent message and wait until the broker has it (``mandatory``, confirmed).

        ``routing_key`` is the exchange's own name unless given; ``properties`` replace ``kind`` and
        ``headers``. Raises Unroutable, Overloaded, TooLarge or BrokerUnavailable; after BrokerUnavailable the
        message may have been accepted all the same.
        """
        own = copy.copy(properties) if properties else pika.BasicProperties(type=kind, headers=headers or {})
        own.delivery_mode = PERSISTENT
        own.message_id = key = f"{self._prefix}{next(self._numbers):x}"
        confirmed = self._publishes[key] = self._loop.create_future()
        try:
            self._publisher.send(exchange, routing_key or exchange, body, own, key, self._settle)
            await confirmed
        finally:
            del self._publishes[key]

    def broadcast(self, exchange: str, body: bytes, kind: str) -> None:
        """Publish to every queue bound to a fanout exchange, be it none; not waited for.

        Raises BrokerUnavailable when there is no connection.
        """
        properties = pika.BasicProperties(type=kind, message_id=f"{self._prefix}{next(self._numbers):x}")
        self._publisher.send(exchange, "", body, properties, str(properties.message_id), _forget, mandatory=False)

    def open_stream(
        self,
        exchange: str,
        body: bytes,
        kind: str,
        sink: Sink,
        *,
        routing_key: str = "",
        request_id: str = "",
        remaining_ms: int = 0,
        confirmed: bool = True,
    ) -> str:
        """Ask, and give every answer to ``sink`` until ``close_stream`` with the key returned here.

        With a routing key the request is ``mandatory``; without one it goes to a fanout exchange,
        whose receivers may be none. ``remaining_ms`` is how long the request is of use (0: for
        ever). A stream fails when the receiving connection is lost, and an unconfirmed one also
        when the publishing connection is. Raises BrokerUnavailable, Overloaded and TooLarge.
        """
        key = f"{self._prefix}{next(self._numbers):x}"
        self._streams[key] = sink
        if not confirmed:
            self._unconfirmed.add(key)
        try:
            self._send(exchange, routing_key, body, kind, key, request_id, remaining_ms, confirmed)
        except errors.WarrenError:
            self.close_stream(key)
            raise
        return key

    def close_stream(self, key: str) -> None:
        """Drop what still arrives for this stream."""
        self._streams.pop(key, None)
        self._unconfirmed.discard(key)

    async def queue_state(self, queue: str) -> QueueState:
        """How many messages are ready in a queue, and how many consumers it has (0, 0 if it is missing).

        Raises BrokerUnavailable.
        """
        return await self._inbox.queue_state(queue)

    def _send(
        self,
        exchange: str,
        route: str,
        body: bytes,
        kind: str,
        key: str,
        request_id: str,
        ms: int,
        confirmed: bool = True,
    ) -> None:
        reply_to = self._inbox.reply_to
        if not reply_to:
            raise errors.BrokerUnavailable
        properties, headers = self._properties, self._headers
        headers["request_id"] = request_id or logs.request_id_var.get()
        if ms:
            headers["remaining_ms"] = ms
            properties.expiration = str(ms)
        else:
            headers.pop("remaining_ms", None)
            properties.expiration = None
        properties.type = kind
        properties.correlation_id = key
        properties.reply_to = reply_to
        if confirmed:
            self._publisher.send(exchange, route, body, properties, key, self._settle, bool(route))
        else:
            self._publisher.send_unconfirmed(exchange, route, body, properties, bool(route))

    def _take(self, key: str, delivery: Delivery) -> None:
        """An answer came (replies.ReplyInbox). Nobody may wait for it any more; then it is dropped."""
        future = self._calls.get(key)
        if future is not None:
            if not future.done():
                future.set_result(delivery)
            return
        stream = self._streams.get(key)
        if stream is not None:
            stream.take(delivery)
        else:
            telemetry.rpc_replies_dropped.labels("late").inc()

    def _settle(self, key: str, error: errors.WarrenError | None) -> None:
        """The broker has a message, or has not (publisher.Settle)."""
        confirmed = self._publishes.get(key)
        if confirmed is not None:
            if not confirmed.done():
                confirmed.set_result(None) if error is None else confirmed.set_exception(error)
        elif error is not None:
            self._fail(key, error)

    def _fail(self, key: str, error: errors.WarrenError) -> None:
        future = self._calls.get(key)
        if future is not None and not future.done():
            future.set_exception(error)
        stream = self._streams.pop(key, None)
        self._unconfirmed.discard(key)
        if stream is not None:
            stream.fail(error)

    # ------------------------------------------------------------------ the connections' events

    def publisher_up(self) -> None:
        """Publishing works (publisher.Owner)."""
        self._show()

    def publisher_down(self, error: errors.BrokerUnavailable) -> None:
        """Publishing does not work: what is unconfirmed was settled, open calls fail (publisher.Owner)."""
        self._show()
        for key in (*self._calls, *self._unconfirmed):
            self._fail(key, errors.BrokerUnavailable(error.message))

    def publisher_returned(self, key: str) -> None:
        """No queue takes an unconfirmed request (publisher.Owner)."""
        self._fail(key, errors.Unroutable())

    def inbox_up(self) -> None:
        """The reply queue is there (replies.Owner)."""
        self._show()

    def inbox_down(self, error: errors.BrokerUnavailable) -> None:
        """The reply queue is gone: nothing that is open will be answered (replies.Owner)."""
        self._show()
        for key in (*self._calls, *self._streams):
            self._fail(key, errors.BrokerUnavailable(error.message))

    def _show(self) -> None:
        if self._publisher.ready and self._inbox.reply_to:
            self._up.set()
        else:
            self._up.clear()


def _expire(future: asyncio.Future[Delivery]) -> None:
    if not future.done():
        future.set_exception(errors.DeadlineExceeded())


def _forget(_key: str, _error: errors.WarrenError | None) -> None:
    """Whether a broadcast arrived is of no use to anyone."""
