"""The publishing half of a process: messages go out to the broker, and each is accounted for.

Comes in: a body, where it goes, and whom to tell. Goes out: exactly one call of ``settle`` per
message, with None (the broker has it) or with the error that says why not:

* returned because no queue is bound (312): Unroutable;
* refused by a full queue (``reject-publish`` sends basic.nack): Overloaded;
* not confirmed in time, connection lost, or stopped by a broker alarm: BrokerUnavailable. The
  message may have been accepted all the same.

Publishing and consuming use different connections, because a broker in alarm stops reading a
connection that publishes, and what it consumes would stop with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import takewhile
from typing import Any, Protocol

import pika
from pika import exceptions, spec
from pika.channel import Channel

from wire import errors, links, settings, topology

Settle = Callable[[str, errors.WarrenError | None], None]
"""Told once per message: the key it was sent under, and None or what went wrong."""

MAX_UNCONFIRMED = 20_000
"""Messages that may wait for their confirm at once; beyond it, Overloaded."""


class Owner(Protocol):
    """Who uses a publisher; called on its event loop."""

    def publisher_up(self) -> None:
        """Publishing works from now on."""

    def publisher_down(self, error: errors.BrokerUnavailable) -> None:
        """It does not any more; everything unconfirmed has been settled with ``error``."""

    def publisher_returned(self, key: str) -> None:
        """There is no queue for the message with this key, which was sent without a confirm."""


class Publisher:
    """A connection that only publishes: on one channel with confirms, on another without.

    A confirm wakes both ends once more. What its sender would send again anyway, because it waits
    for an answer, goes without (docs/decisions/0021).
    """

    def __init__(
        self, broker: settings.Broker, name: str, owner: Owner, connect: links.Connect = links.connect
    ) -> None:
        self._owner = owner
        self._link = links.Link(broker, name, self, connect)
        self._timeout_s = broker.confirm_timeout_s
        self._channel: Channel | None = None
        self._plain: Channel | None = None
        self._tag = 0
        self._timer: asyncio.TimerHandle | None = None
        self._unconfirmed: dict[int, tuple[float, str, Settle]] = {}

    def start(self) -> None:
        """Connect on the running loop; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._link.start()

    async def close(self) -> None:
        """Close the connection; what is unconfirmed is settled as BrokerUnavailable."""
        await self._link.close()

    @property
    def ready(self) -> bool:
        """Whether ``send`` has a channel to write to."""
        return self._channel is not None and self._plain is not None

    @property
    def blocked(self) -> bool:
        """Whether a broker alarm stops this connection."""
        return self._link.blocked

    def send(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: pika.BasicProperties,
        key: str,
        settle: Settle,
        mandatory: bool = True,
    ) -> None:
        """Write one message. ``key`` must be its ``message_id``, or its ``correlation_id`` where it has none.

        Raises BrokerUnavailable when there is no connection or an alarm stops it, Overloaded when
        too much is unconfirmed, TooLarge for more than a message holds; ``settle`` is then not called.
        """
        if len(self._unconfirmed) >= MAX_UNCONFIRMED:
            raise errors.Overloaded
        self._write(self._channel, exchange, routing_key, body, properties, mandatory)
        self._tag += 1
        self._unconfirmed[self._tag] = (self._loop.time(), key, settle)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._sweep)

    def send_unconfirmed(
        self, exchange: str, routing_key: str, body: bytes, properties: pika.BasicProperties, mandatory: bool = True
    ) -> None:
        """Write one message and hear no more of it, but ``publisher_returned`` when no queue takes it.

        Raises BrokerUnavailable when there is no connection or an alarm stops it, and TooLarge.
        """
        self._write(self._plain, exchange, routing_key, body, properties, mandatory)

    def _write(
        self,
        channel: Channel | None,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: pika.BasicProperties,
        mandatory: bool,
    ) -> None:
        # The broker would close the channel, and with the connection end everything that is under way on it.
        if len(body) > topology.MAX_MESSAGE_BYTES:
            raise errors.TooLarge("This is more than one message holds; send less at once.")
        if channel is None or self._link.blocked:
            raise errors.BrokerUnavailable
        try:
            channel.basic_publish(exchange, routing_key, body, properties, mandatory)
        except exceptions.AMQPError as error:
            raise errors.BrokerUnavailable from error

    # ------------------------------------------------------------------ the link's events

    def link_opened(self, connection: links.Connection) -> None:
        """Open the channels (links.Listener)."""
        links.open_channel(connection, self._prepare, self._link.renew)
        links.open_channel(connection, self._prepare_plain, self._link.renew)

    def link_closed(self, error: errors.BrokerUnavailable) -> None:
        """Settle everything that is open (links.Listener)."""
        self._channel = self._plain = None
        self._fail_all(error)
        self._owner.publisher_down(error)

    def link_blocked(self) -> None:
        """Settle everything that is open: no confirm comes during an alarm (links.Listener)."""
        error = errors.BrokerUnavailable("The message broker is short of memory or disk.")
        self._fail_all(error)
        self._owner.publisher_down(error)

    def link_unblocked(self) -> None:
        """Publishing works again (links.Listener)."""
        self._show()

    def _prepare_plain(self, channel: Channel) -> None:
        channel.add_on_return_callback(self._on_plain_return)
        self._plain = channel
        self._show()

    def _show(self) -> None:
        if self.ready:
            self._owner.publisher_up()

    def _prepare(self, channel: Channel) -> None:
        def confirmed(_frame: object) -> None:
            self._tag = 0
            self._channel = channel
            self._show()

        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, confirmed)

    def _on_return(self, _channel: object, method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        """Settle the message now; its confirm, which follows, finds it gone (RabbitMQ, "Publisher confirms")."""
        key = properties.message_id or properties.correlation_id
        tag = next((tag for tag, entry in self._unconfirmed.items() if entry[1] == key), None)
        if tag is not None:
            self._unconfirmed.pop(tag)[2](str(key), errors.Unroutable())

    def _on_plain_return(self, _channel: object, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        self._owner.publisher_returned(str(properties.message_id or properties.correlation_id))

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        refused = isinstance(method, spec.Basic.Nack)
        tag = method.delivery_tag
        tags = tuple(takewhile(tag.__ge__, self._unconfirmed)) if method.multiple else (tag,)
        for each in tags:
            entry = self._unconfirmed.pop(each, None)
            if entry is not None:
                entry[2](entry[1], errors.Overloaded() if refused else None)

    def _sweep(self) -> None:
        """Give up on what has waited too long. Tags are in order of sending, so the oldest come first."""
        self._timer = None
        now = self._loop.time()
        while self._unconfirmed:
            tag, (sent_at, key, settle) = next(iter(self._unconfirmed.items()))
            left_s = sent_at + self._timeout_s - now
            if left_s > 0:
                self._timer = self._loop.call_later(left_s, self._sweep)
                return
            del self._unconfirmed[tag]
            settle(key, errors.BrokerUnavailable("The message broker did not confirm in time."))

    def _fail_all(self, error: errors.BrokerUnavailable) -> None:
        pending, self._unconfirmed = self._unconfirmed, {}
        for _, key, settle in pending.values():
            settle(key, errors.BrokerUnavailable(error.message))
