"""One request as a handler sees it: between a subscription's queue and the outbox.

Comes in: a delivery. Goes out: any number of replies on its correlation id, and one
acknowledgement. The acknowledgement follows the *confirm* of the last reply, not just its
writing: replies and acknowledgements travel on two connections, so a process killed in between
could have acknowledged work whose answer never left it, and nobody would do it again. It costs
a prefetch slot for the fraction of a millisecond a confirm takes. Where the requester asks again
by itself when no answer comes, as with predictions, it follows the writing (docs/decisions/0021).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pika
from pika.channel import Channel

from wire import messages, topology
from wire.deadlines import Deadline
from wire.outbox import KEEP_S, Outbox, Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable

_PERSISTENT = 2


class Request:
    """A request in the hands of a handler thread.

    ``kind`` is the message's TYPE, ``body`` its bytes, ``redelivered`` whether it may have been
    worked on before. ``deadline`` counts from its arrival here (the time it waited in the broker's
    queue is bounded by its expiration, but not known), None when it has none.
    """

    def __init__(
        self,
        outbox: Outbox,
        channel: Channel,
        method: Any,
        properties: pika.BasicProperties,
        body: bytes,
        *,
        confirmed: bool = True,
    ) -> None:
        headers = properties.headers or {}
        self.kind: str = properties.type or ""
        self.body = body
        self.request_id: str = str(headers.get("request_id", ""))
        self.correlation_id: str = properties.correlation_id or ""
        self.reply_to: str = properties.reply_to or ""
        self.redelivered: bool = method.redelivered
        self.deadline = _deadline(properties)
        self._confirmed = confirmed
        self._outbox = outbox
        self._channel = channel
        self._tag: int = method.delivery_tag
        self._open_replies = 0
        self._finished = False
        self._acknowledged = False

    @property
    def stale(self) -> bool:
        """Whether the channel it came on is gone: the broker gives it to somebody else."""
        return not self._channel.is_open

    def reply(self, message: messages.Message) -> None:
        """Send one answer; progress may be followed by more."""
        self.reply_raw(message.encode(), message.TYPE)

    def reply_raw(self, body: bytes, kind: str) -> None:
        """Send one answer that is already encoded."""
        self._outbox.submit(functools.partial(self._post_reply, body, kind))

    def ack(self) -> None:
        """Acknowledge now, before the work is done: from here on a crash loses it."""
        self._outbox.submit(self._acknowledge)

    def finish(self, reply: messages.Message | None) -> None:
        """The handler is done: send ``reply`` if there is one, and acknowledge after its confirm."""
        self._outbox.submit(functools.partial(self._finish, reply))

    def dead_letter(self, queue: str, reason: str) -> None:
        """Copy it to the dead-letter exchange, for people to read."""
        self._outbox.submit(functools.partial(self._post_dead, queue, reason))

    def give_back(self) -> None:
        """Let another process do it."""
        self._outbox.submit(self._reject)

    # ------------------------------------------------------------------ on the I/O thread

    def _post_reply(self, body: bytes, kind: str) -> None:
        if not self.reply_to:
            return
        properties = pika.BasicProperties(
            type=kind, correlation_id=self.correlation_id, headers={"request_id": self.request_id}
        )
        until = self.deadline or Deadline.after(KEEP_S)
        self._post(
            Outgoing(
                topology.REPLY,
                self.reply_to,
                body,
                properties,
                until,
                self._settled,
                confirmed=self._confirmed,
            )
        )

    def _post_dead(self, queue: str, reason: str) -> None:
        properties = pika.BasicProperties(
            type=self.kind,
            correlation_id=self.correlation_id,
            delivery_mode=_PERSISTENT,
            headers={"request_id": self.request_id, "queue": queue, "reason": reason},
        )
        dead = topology.DEAD
        self._post(Outgoing(dead, dead, self.body, properties, Deadline.after(KEEP_S), self._settled))

    def _post(self, outgoing: Outgoing) -> None:
        self._open_replies += 1
        self._outbox.post(outgoing)

    def _settled(self) -> None:
        self._open_replies -= 1
        self._acknowledge_if_over()

    def _finish(self, reply: messages.Message | None) -> None:
        if reply is not None:
            self._post_reply(reply.encode(), reply.TYPE)
        self._finished = True
        self._acknowledge_if_over()

    def _acknowledge_if_over(self) -> None:
        if self._finished and not self._open_replies:
            self._acknowledge()

    def _acknowledge(self) -> None:
        self._once(lambda: self._channel.basic_ack(self._tag))

    def _reject(self) -> None:
        self._once(lambda: self._channel.basic_reject(self._tag, requeue=True))

    def _once(self, action: Callable[[], None]) -> None:
        if not self._acknowledged and self._channel.is_open:
            action()
        self._acknowledged = True


def _deadline(properties: pika.BasicProperties) -> Deadline | None:
    """The time left by the header ``remaining_ms``, or by the AMQP expiration (milliseconds as text)."""
    left = (properties.headers or {}).get("remaining_ms", properties.expiration)
    try:
        return None if left is None else Deadline.after(int(left) / 1000)
    except (TypeError, ValueError):
        return None
