"""A batch and its requests: from entries to a frame, from the reply to each request's answer.

Between the coalescer and the broker. A reply is matched to its request by the correlation id
(``wire``), and each answer to its entry by position, which the reply must have exactly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple

from api.predict import policy
from api.predict.envelope import Asked
from wire import errors, frames, messages, topology
from wire.async_client import AsyncRpcClient, Delivery
from wire.deadlines import Deadline

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""ASGI's channel from the client."""

_NOT_ANSWERED = {kind.code: kind for kind in errors.NotAnswered.__subclasses__()}


class ClientLeft(Exception):
    """The client closed its connection; there is nobody to answer."""


class Answer(NamedTuple):
    """One request's answer: JSON members (``"predictions":[…]``…), and where its time went.

    ``queue_s`` are the seconds it waited here and in the broker, ``inference_s`` those its
    batch was computed.
    """

    version: int
    members: memoryview
    queue_s: float
    inference_s: float


Outcome = Answer | errors.WarrenError
"""How one request of a batch ended."""


class Pending(policy.Entry):
    """A request that waits for its answer."""

    __slots__ = ("arrived_at", "asked", "batch", "expires_at", "future", "receive", "request_id", "watcher")

    def __init__(
        self, asked: Asked, expires_at: float, request_id: str, receive: Receive | None, future: asyncio.Future[Answer]
    ) -> None:
        """``expires_at`` is a point of ``time.monotonic``, in seconds."""
        size_bytes = len(asked.instances)
        large = size_bytes > policy.LARGE_BYTES
        super().__init__(policy.Reference(asked.model, asked.version, asked.alias, large), asked.rows_bound, size_bytes)
        self.asked = asked
        self.arrived_at = time.monotonic()
        self.expires_at = expires_at
        self.request_id = request_id
        self.receive = receive
        self.future = future
        self.batch: Batch | None = None
        self.watcher: asyncio.Task[None] | None = None


class Batch:
    """Requests that travel together, and the copies of their message that are under way.

    ``open`` counts the requests that still wait; ``landed`` says that its place in the lane was
    given free, ``settled`` that its end is known.
    """

    __slots__ = ("copies", "entries", "landed", "open", "reference", "sent_at", "settled", "timer")

    def __init__(self, reference: policy.Reference, entries: Sequence[Pending]) -> None:
        """``entries`` are in the order they arrived."""
        self.reference = reference
        self.entries = entries
        self.open = len(entries)
        self.sent_at = time.monotonic()
        self.copies: set[asyncio.Task[None]] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.landed = False
        self.settled = False
        for entry in entries:
            entry.batch = self

    def waiting(self) -> list[Pending]:
        """The requests that still wait for their answer."""
        return [entry for entry in self.entries if not entry.future.done()]


async def exchange(rpc: AsyncRpcClient, reference: policy.Reference, entries: Sequence[Pending]) -> list[Outcome]:
    """Send requests in one message and read the reply: one outcome per entry, in order.

    Raises what the whole batch failed with: errors.RetryAlone among what a predictor says, and
    the kinds of errors.NotAnswered.
    """
    sent_at = time.monotonic()
    items = tuple(
        frames.BatchItem(
            entry.size_bytes,
            max(1, int((entry.expires_at - sent_at) * 1000)),
            probabilities=entry.asked.probabilities,
            request_id=entry.request_id,
        )
        for entry in entries
    )
    header = frames.BatchHeader(reference.model, items, reference.version, reference.alias)
    body = frames.encode(header, [entry.asked.instances for entry in entries])
    deadline = Deadline(max(entry.expires_at for entry in entries))
    request_id = entries[0].request_id if len(entries) == 1 else ""
    delivery = await rpc.call_raw(topology.PREDICT, body, frames.BATCH_TYPE, deadline=deadline, request_id=request_id)
    return read_reply(delivery, entries, sent_at)


def read_reply(delivery: Delivery, entries: Sequence[Pending], sent_at: float) -> list[Outcome]:
    """The outcomes that a reply holds; ``sent_at`` is when its batch left (``time.monotonic``).

    Raises the error of the whole batch, and errors.InternalError when the reply is not one.
    """
    if delivery.kind == messages.Failure.TYPE:
        raise error_of(_readable(messages.Failure.decode, delivery).error)
    if delivery.kind != frames.REPLY_TYPE:
        raise errors.InternalError(f"a reply of kind {delivery.kind}")
    header, blobs = _readable(frames.decode_reply, delivery)
    if header.error is not None:
        raise error_of(header.error)
    if len(header.items) != len(entries):
        raise errors.InternalError("a reply with another number of answers")
    inference_s = header.inference_us / 1e6
    in_broker_s = header.queue_us / 1e6
    return [
        Answer(header.version, blob, sent_at - entry.arrived_at + in_broker_s, inference_s)
        if item.error is None
        else error_of(item.error)
        for entry, item, blob in zip(entries, header.items, blobs, strict=True)
    ]


def error_of(body: errors.ErrorBody) -> errors.WarrenError:
    """The exception for an error of a reply; a predictor also says when a request expired there."""
    kind = _NOT_ANSWERED.get(body.code)
    return errors.from_body(body) if kind is None else kind(body.message)


def _readable(decode: Callable[[bytes], Any], delivery: Delivery) -> Any:
    try:
        return decode(delivery.body)
    except errors.MalformedBody as error:
        # What a predictor wrote wrongly is no fault of the one who asked.
        raise errors.InternalError(error.message) from error


def another(error: errors.WarrenError) -> errors.WarrenError:
    """The same error once more: an exception that several tasks raise would gather all their frames."""
    return type(error)(error.message, errors=error.errors, hint=error.hint)


async def watch_client(pending: Pending) -> None:
    """Wait until the client of a request leaves, and end the request then."""
    assert pending.receive is not None
    while (await pending.receive())["type"] != "http.disconnect":
        pass
    if not pending.future.done():
        pending.future.set_exception(ClientLeft())
