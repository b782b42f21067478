"""The RPC client of threads: from the Celery worker, the trainer and the predictor to the broker.

Comes in: messages from any thread. Goes out: answers, or streams of them (the progress of a
training). It is wire.async_client on a thread of its own.
"""

from __future__ import annotations

import functools
import queue as queues
from types import TracebackType
from typing import Any, Self, TypeVar

import pika

from wire import errors, links, messages, settings, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline
from wire.io_thread import IoThread
from wire.replies import Delivery, QueueState

__all__ = ["Delivery", "QueueState", "ReplyStream", "RpcClient"]

M = TypeVar("M", bound=messages.Message)

STREAM_BOUND = 1024
"""Answers a stream holds unread; beyond it the stream fails, because its reader has stopped reading."""

_GRACE_S = 1.0
"""What a call may take beyond its deadline before the I/O thread counts as stuck."""


class ReplyStream:
    """The answers to one request, in order. Leave it (``with``) to stop listening."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self._items: queues.SimpleQueue[Delivery | errors.WarrenError] = queues.SimpleQueue()
        self._key = ""

    def next(self, timeout_s: float) -> Delivery:
        """The next answer, undecoded (replies.read decodes it).

        Raises DeadlineExceeded when none comes in time (the stream goes on), and for good:
        BrokerUnavailable when the connection was lost, Unroutable or Overloaded when the request
        was not accepted, Overloaded when more than STREAM_BOUND answers lie unread.
        """
        try:
            item = self._items.get(timeout=timeout_s)
        except queues.Empty:
            raise errors.DeadlineExceeded from None
        if isinstance(item, errors.WarrenError):
            self._items.put(item)
            raise item
        return item

    def close(self) -> None:
        """Stop listening; answers still under way are dropped."""
        self._client.forget(self._key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def opened(self, key: str) -> Self:
        """Note the key under which the client knows this stream (for RpcClient)."""
        self._key = key
        return self

    def take(self, delivery: Delivery) -> None:
        """One more answer (async_client.Sink)."""
        if self._items.qsize() < STREAM_BOUND:
            self._items.put(delivery)
        elif self._items.qsize() == STREAM_BOUND:
            self._items.put(errors.Overloaded("The answers to this request were not read."))

    def fail(self, error: errors.WarrenError) -> None:
        """No more answers will come (async_client.Sink)."""
        self._items.put(error)


class RpcClient:
    """Calls, streams and publishes, from any thread."""

    def __init__(
        self, broker: settings.Broker, role: topology.Role, name: str, connect: links.Connect = links.connect
    ) -> None:
        self._client = AsyncRpcClient(broker, role, name, connect)
        self._confirm_s = broker.confirm_timeout_s
        self._close_s = 3 * broker.connect_timeout_s
        self._name = f"rpc-{name}"
        self._closed = False

    def start(self) -> None:
        """Start the I/O thread, which connects in the background; returns at once."""
        self._io = IoThread(self._name)
        self._io.run(self._client.start(), _GRACE_S)

    def close(self) -> None:
        """Fail what is open with BrokerUnavailable, close both connections and end the thread; once."""
        if self._closed:
            return
        self._closed = True
        try:
            self._io.run(self._client.close(), self._close_s)
        finally:
            self._io.stop()

    @property
    def connected(self) -> bool:
        """Whether both connections are open and the reply queue is there."""
        return self._client.connected

    @property
    def blocked(self) -> bool:
        """Whether a broker alarm stops what this process publishes."""
        return self._client.blocked

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until calls can be made; False when that took longer."""
        return self._io.run(self._client.wait_connected(timeout_s), timeout_s + _GRACE_S)

    def call(
        self, queue: str, message: messages.Message, expect: type[M], *, deadline: Deadline, request_id: str = ""
    ) -> M:
        """Ask whoever serves ``queue`` and read the answer as ``expect``; raises as AsyncRpcClient.call."""
        coroutine = self._client.call(queue, message, expect, deadline=deadline, request_id=request_id)
        return self._io.run(coroutine, deadline.remaining_s + _GRACE_S)

    def stream(self, queue: str, message: messages.Message, *, request_id: str = "") -> ReplyStream:
        """Ask whoever serves ``queue`` and listen to every answer. Raises BrokerUnavailable."""
        return self._open(queue, queue, message.encode(), message.TYPE, request_id)

    def stream_raw(self, queue: str, body: bytes, kind: str, *, request_id: str = "") -> ReplyStream:
        """The same with a body that is already encoded. Raises BrokerUnavailable."""
        return self._open(queue, queue, body, kind, request_id)

    def gather(self, exchange: str, message: messages.Message, *, request_id: str = "") -> ReplyStream:
        """Ask everybody behind a fanout exchange, be it nobody, and listen. Raises BrokerUnavailable."""
        return self._open(exchange, "", message.encode(), message.TYPE, request_id)

    def publish(
        self,
        exchange: str,
        body: bytes,
        *,
        routing_key: str | None = None,
        kind: str = "",
        headers: dict[str, Any] | None = None,
        properties: pika.BasicProperties | None = None,
    ) -> None:
        """Publish one persistent message and wait for its confirm; as AsyncRpcClient.publish."""
        coroutine = self._client.publish(
            exchange, body, routing_key=routing_key, kind=kind, headers=headers, properties=properties
        )
        self._io.run(coroutine, self._confirm_s + _GRACE_S)

    def broadcast(self, exchange: str, message: messages.Message) -> None:
        """Tell everybody behind a fanout exchange, be it nobody. Raises BrokerUnavailable."""

        async def send() -> None:
            self._client.broadcast(exchange, message.encode(), message.TYPE)

        self._io.run(send(), _GRACE_S)

    def queue_state(self, queue: str) -> QueueState:
        """Ready messages and consumers of a queue (0, 0 if it is missing). Raises BrokerUnavailable."""
        return self._io.run(self._client.queue_state(queue), self._confirm_s + _GRACE_S)

    def forget(self, key: str) -> None:
        """Drop what still arrives for a stream (for ReplyStream)."""
        self._io.soon(functools.partial(self._client.close_stream, key))

    def _open(self, exchange: str, routing_key: str, body: bytes, kind: str, request_id: str) -> ReplyStream:
        stream = ReplyStream(self)

        async def send() -> str:
            return self._client.open_stream(
                exchange, body, kind, stream, routing_key=routing_key, request_id=request_id
            )

        return stream.opened(self._io.run(send(), _GRACE_S))
