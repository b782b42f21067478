"""What a server still has to publish: from handler threads to the publishing connection.

Comes in: replies and copies of unreadable messages, from any thread. Goes out: each published
and confirmed, then ``done`` is called, which lets the request's delivery be acknowledged. What
the broker could not take (connection lost, alarm, no confirm) is sent again until its
requester has stopped waiting, because its request may have been acknowledged already and no one
would do the work again. A requester may therefore see a reply twice. In place of an answer that no
message holds it gets the error that says so.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import pika

from wire import errors, links, logs, messages, settings, telemetry, topology
from wire.deadlines import Deadline
from wire.io_thread import IoThread
from wire.publisher import Publisher

KEEP_S = 60.0
"""How long a reply without a deadline is tried."""

MAX_WAITING = 10_000
"""Messages that may wait for the broker to come back; beyond it new ones are dropped and counted."""

_PAUSE_S = 0.2
_TOO_LARGE = "The answer is more than one message holds; ask for less at once."


@dataclass(slots=True)
class Outgoing:
    """One message to publish: where, what, until when it is of use, and whom to tell when it is over.

    ``mandatory`` False: it is of no matter whether a queue is there to take it. ``confirmed``
    False: it is over once it is written; whoever asked will ask again.
    """

    exchange: str
    routing_key: str
    body: bytes
    properties: pika.BasicProperties
    until: Deadline
    done: Callable[[], None]
    mandatory: bool = True
    confirmed: bool = True


class Outbox:
    """Publishes on the I/O thread what other threads hand in."""

    def __init__(
        self,
        broker: settings.Broker,
        name: str,
        io: IoThread,
        changed: Callable[[], None],
        connect: links.Connect = links.connect,
    ) -> None:
        self._publisher = Publisher(broker, f"{name}.publish", self, connect)
        self._io = io
        self._changed = changed
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._sent: dict[str, Outgoing] = {}
        self._waiting: deque[Outgoing] = deque()
        self._actions: deque[Callable[[], None]] = deque()
        self._woken = False
        self._timer: asyncio.TimerHandle | None = None
        self.closing = False

    def submit(self, action: Callable[[], None]) -> None:
        """From any thread: run ``action`` on the I/O thread, in order; several share one wake-up.

        On the I/O thread itself it runs at once.
        """
        if self._io.here:
            action()
            return
        self._actions.append(action)
        if not self._woken:
            self._woken = True
            self._io.soon(self._run_actions)

    def start(self) -> None:
        """Connect; on the I/O thread, as everything below."""
        self._publisher.start()

    async def close(self) -> None:
        """Close the connection; what is not confirmed by now is given up."""
        if self._timer is not None:
            self._timer.cancel()
        await self._publisher.close()

    @property
    def ready(self) -> bool:
        """Whether there is a channel to publish on."""
        return self._publisher.ready

    @property
    def blocked(self) -> bool:
        """Whether a broker alarm stops the connection."""
        return self._publisher.blocked

    @property
    def empty(self) -> bool:
        """Whether everything handed in has been confirmed or given up."""
        return not (self._actions or self._sent or self._waiting)

    def post(self, outgoing: Outgoing) -> None:
        """Publish now, or as soon as the broker takes it."""
        try:
            self._post(outgoing)
        except errors.TooLarge:
            self._refuse(outgoing)

    def _post(self, outgoing: Outgoing) -> None:
        key = outgoing.properties.message_id = f"{self._prefix}{next(self._numbers):x}"
        if not outgoing.confirmed:
            self._post_unconfirmed(outgoing)
            return
        try:
            self._publisher.send(
                outgoing.exchange,
                outgoing.routing_key,
                outgoing.body,
                outgoing.properties,
                key,
                self._settle,
                outgoing.mandatory,
            )
        except errors.NotAnswered:
            self._wait(outgoing)
        else:
            self._sent[key] = outgoing

    def _post_unconfirmed(self, outgoing: Outgoing) -> None:
        try:
            self._publisher.send_unconfirmed(
                outgoing.exchange, outgoing.routing_key, outgoing.body, outgoing.properties, outgoing.mandatory
            )
        except errors.NotAnswered:
            self._wait(outgoing)
        else:
            self._over(outgoing)

    def _refuse(self, outgoing: Outgoing) -> None:
        """Tell the requester that the answer is too large; what nobody asked for is dropped."""
        logs.log("rpc.reply_dropped", level="ERROR", exchange=outgoing.exchange, size_bytes=len(outgoing.body))
        telemetry.rpc_replies_dropped.labels("too_large").inc()
        if outgoing.exchange != topology.REPLY:
            self._over(outgoing)
            return
        outgoing.body = messages.Failure(error=errors.TooLarge(_TOO_LARGE).to_body()).encode()
        outgoing.properties.type = messages.Failure.TYPE
        self._post(outgoing)

    def publisher_returned(self, key: str) -> None:
        """The requester of an unconfirmed reply is gone (publisher.Owner)."""
        telemetry.rpc_replies_dropped.labels("gone").inc()

    def publisher_up(self) -> None:
        """Send what waited (publisher.Owner)."""
        self._changed()
        self._retry()

    def publisher_down(self, error: errors.BrokerUnavailable) -> None:
        """Everything unconfirmed has come back and waits (publisher.Owner)."""
        self._changed()

    def _settle(self, key: str, error: errors.WarrenError | None) -> None:
        outgoing = self._sent.pop(key)
        if isinstance(error, errors.BrokerUnavailable):
            self._wait(outgoing)
            return
        if error is not None:
            telemetry.rpc_replies_dropped.labels("gone" if isinstance(error, errors.Unroutable) else "refused").inc()
        self._over(outgoing)

    def _wait(self, outgoing: Outgoing) -> None:
        if outgoing.until.expired or len(self._waiting) >= MAX_WAITING:
            telemetry.rpc_replies_dropped.labels("expired").inc()
            self._over(outgoing)
            return
        self._waiting.append(outgoing)
        if self._timer is None:
            self._timer = self._io.loop.call_later(_PAUSE_S, self._retry)

    def _over(self, outgoing: Outgoing) -> None:
        outgoing.done()
        if self.closing and self.empty:
            self._changed()

    def _retry(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for outgoing in waiting:
            self.post(outgoing)

    def _run_actions(self) -> None:
        self._woken = False
        while self._actions:
            self._actions.popleft()()
