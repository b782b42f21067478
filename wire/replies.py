"""Answers on their way back: from a process's own reply queue to whoever waits for them.

Comes in: deliveries on an exclusive queue that is new for every connection, so that nothing
meant for an earlier one is taken for an answer. Goes out: a Delivery and the key it belongs to.
The queue is bound to the reply exchange; direct reply-to would need write access to the default
exchange, which reaches every queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import pika
from pika import exceptions
from pika.channel import Channel

from wire import errors, links, messages, settings, topology

M = TypeVar("M", bound=messages.Message)


class Delivery(msgspec.Struct, frozen=True):
    """A message as it came: its ``type``, its bytes undecoded, its headers.

    ``kind`` is ``failure`` when the answer is an error (messages.Failure).
    """

    kind: str
    body: bytes
    headers: dict[str, Any] = {}
    redelivered: bool = False


class QueueState(NamedTuple):
    """A queue at one moment: messages ready to be taken, and consumers. A missing queue has none of either."""

    messages: int
    consumers: int


def read(delivery: Delivery, expect: type[M]) -> M:
    """The answer as the message ``expect``.

    Raises the error that a messages.Failure carries; InternalError when the answer is neither.
    """
    if delivery.kind == messages.Failure.TYPE:
        raise errors.from_body(_decode(delivery, messages.Failure).error)
    if delivery.kind != expect.TYPE:
        raise errors.InternalError
    return _decode(delivery, expect)


def _decode(delivery: Delivery, kind: type[M]) -> M:
    try:
        return kind.decode(delivery.body)
    except errors.MalformedBody as error:
        # What a peer of ours wrote wrongly is no fault of the one who asked.
        raise errors.InternalError from error


class Sink(Protocol):
    """Takes the answers of a stream; called on the client's event loop."""

    def take(self, delivery: Delivery) -> None:
        """One more answer."""

    def fail(self, error: errors.WarrenError) -> None:
        """There will be no more."""


class Owner(Protocol):
    """Who uses an inbox; called on its event loop."""

    def inbox_up(self) -> None:
        """Replies sent to ``reply_to`` arrive from now on."""

    def inbox_down(self, error: errors.BrokerUnavailable) -> None:
        """The reply queue is gone, and every reply that was under way with it."""


class ReplyInbox:
    """A connection that only consumes: this process's reply queue, and questions about other queues."""

    def __init__(
        self,
        broker: settings.Broker,
        role: topology.Role,
        name: str,
        owner: Owner,
        take: Callable[[str, Delivery], None],
        connect: links.Connect = links.connect,
    ) -> None:
        self.reply_to = ""
        self._owner = owner
        self._take = take
        self._role = role
        self._name = name
        self._link = links.Link(broker, f"{role}.{name}.replies", self, connect)
        self._timeout_s = broker.confirm_timeout_s
        self._epoch = 0
        self._connection: links.Connection | None = None
        self._query: Channel | None = None
        self._asked: asyncio.Future[QueueState] | None = None
        self._turn = asyncio.Lock()

    def start(self) -> None:
        """Connect on the running loop; returns at once."""
        self._link.start()

    async def close(self) -> None:
        """Close the connection, and the reply queue with it."""
        await self._link.close()

    async def queue_state(self, queue: str) -> QueueState:
        """Ask the broker, by passive declaration. Raises BrokerUnavailable when it does not say in time."""
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                return await self._ask(queue)
        except TimeoutError as error:
            self._link.renew()
            raise errors.BrokerUnavailable from error

    async def _ask(self, queue: str) -> QueueState:
        if self._connection is None:
            raise errors.BrokerUnavailable
        asked: asyncio.Future[QueueState] = asyncio.get_running_loop().create_future()
        self._asked = asked
        try:
            if self._query is None:
                self._connection.channel(on_open_callback=lambda channel: self._declare(channel, queue))
            else:
                self._declare(self._query, queue)
            return await asked
        finally:
            self._asked = None

    def _declare(self, channel: Channel, queue: str) -> None:
        def answered(frame: Any) -> None:
            self._answer(QueueState(frame.method.message_count, frame.method.consumer_count))

        if self._query is None:
            self._query = channel
            channel.add_on_close_callback(self._query_closed)
        channel.queue_declare(queue, passive=True, callback=answered)

    def _query_closed(self, _channel: Channel, reason: Exception) -> None:
        """The broker closes the channel when it is asked about a queue it does not have (404)."""
        self._query = None
        self._answer(QueueState(0, 0) if isinstance(reason, exceptions.ChannelClosedByBroker) else None)

    def _answer(self, state: QueueState | None) -> None:
        """Tell whoever asked; None: the connection was lost first."""
        if self._asked is not None and not self._asked.done():
            if state is None:
                self._asked.set_exception(errors.BrokerUnavailable())
            else:
                self._asked.set_result(state)

    # ------------------------------------------------------------------ the link's events

    def link_opened(self, connection: links.Connection) -> None:
        """Declare this epoch's queue (links.Listener)."""
        self._connection = connection
        links.open_channel(connection, self._prepare, self._link.renew)

    def link_closed(self, error: errors.BrokerUnavailable) -> None:
        """Forget it (links.Listener)."""
        self.reply_to = ""
        self._connection = None
        self._query = None
        self._answer(None)
        self._owner.inbox_down(error)

    def link_blocked(self) -> None:
        """Never sent to a connection that does not publish (links.Listener)."""

    def link_unblocked(self) -> None:
        """Never sent either (links.Listener)."""

    def _prepare(self, channel: Channel) -> None:
        self._epoch += 1
        queue = topology.reply_queue(self._role, f"{self._name}.{self._epoch}")

        def up(_frame: object) -> None:
            self.reply_to = queue
            self._owner.inbox_up()

        # One channel carries its commands in order, so only the last answer need be waited for.
        channel.queue_declare(queue, exclusive=True, auto_delete=True, callback=_ignore)
        channel.queue_bind(queue, topology.REPLY, routing_key=queue, callback=_ignore)
        channel.add_on_cancel_callback(lambda _frame: self._link.renew())
        channel.basic_consume(queue, self._on_message, auto_ack=True, callback=up)

    def _on_message(self, _channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        key: Any = properties.correlation_id
        self._take(key, Delivery(properties.type or "", body, properties.headers or {}, method.redelivered))


def _ignore(_frame: object) -> None:
    """Makes pika wait for the answer before it sends the channel's next command."""
