"""The queues of the broker in memory: messages in, deliveries out, as RabbitMQ's classic queues do it.

Beneath wire.memory's channels. Called under the broker's lock only, so nothing here waits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pika


@dataclass(slots=True)
class StoredMessage:
    """A message as it lies in a queue; ``expires_at`` is on the monotonic clock, None for never."""

    routing_key: str
    body: bytes
    properties: pika.BasicProperties
    expires_at: float | None
    redelivered: bool = False


@dataclass(eq=False, slots=True)
class Consumer:
    """Who takes from a queue: ``deliver`` schedules one message, ``credit`` is how many more it may hold."""

    tag: str
    deliver: Callable[[Consumer, MemoryQueue, StoredMessage], None]
    prefetch: int
    unacknowledged: int = 0

    @property
    def has_credit(self) -> bool:
        """Whether it takes one more; a prefetch of 0 has no bound."""
        return not self.prefetch or self.unacknowledged < self.prefetch


@dataclass(eq=False, slots=True)
class MemoryQueue:
    """One queue: its ready messages, its consumers, and whose it is if exclusive."""

    name: str
    arguments: dict[str, Any]
    owner: object | None = None
    ready: deque[StoredMessage] = field(default_factory=deque)
    consumers: deque[Consumer] = field(default_factory=deque)

    def accept(self, message: StoredMessage) -> bool:
        """Take a message; False when the queue is full and refuses (``reject-publish``)."""
        self.drop_expired()
        longest = self.arguments.get("x-max-length")
        if longest is not None and len(self.ready) >= longest:
            if self.arguments.get("x-overflow") == "reject-publish":
                return False
            self.ready.popleft()
        self.ready.append(message)
        self.dispatch()
        return True

    def put_back(self, message: StoredMessage) -> None:
        """Return a delivered message to its place at the head, marked as delivered before."""
        message.redelivered = True
        self.ready.appendleft(message)

    def dispatch(self) -> None:
        """Hand out what can be handed out: to each consumer with credit in turn, or to the first alone."""
        while True:
            self.drop_expired()
            consumer = self._next_consumer()
            if not self.ready or consumer is None:
                return
            consumer.unacknowledged += 1
            consumer.deliver(consumer, self, self.ready.popleft())

    def drop_expired(self) -> None:
        """Forget what has passed its expiration."""
        now = time.monotonic()
        if any(message.expires_at is not None for message in self.ready):
            self.ready = deque(m for m in self.ready if m.expires_at is None or m.expires_at > now)

    def _next_consumer(self) -> Consumer | None:
        if self.arguments.get("x-single-active-consumer"):
            first = self.consumers[0] if self.consumers else None
            return first if first is not None and first.has_credit else None
        for _ in range(len(self.consumers)):
            self.consumers.rotate(-1)
            if self.consumers[-1].has_credit:
                return self.consumers[-1]
        return None


def stored(routing_key: str, body: bytes, properties: pika.BasicProperties) -> StoredMessage:
    """A message as it is kept: the properties copied, because publishers use theirs again."""
    own = pika.BasicProperties()
    own.__dict__.update(properties.__dict__)
    own.headers = dict(properties.headers or {})
    expires_at = None if own.expiration is None else time.monotonic() + int(own.expiration) / 1000
    return StoredMessage(routing_key, bytes(body), own, expires_at)
