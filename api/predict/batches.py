"""A batch and its requests: from entries to a frame, from the reply to each request's answer.

Between the coalescer and the broker. A reply is matched to its request by the correlation id
(``wire``), and each answer to its entry by position, which the reply must have exactly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from api.predict import policy
from api.predict.envelope import Asked
from wire import errors, frames, messages, topology
from wire.async_client import AsyncRpcClient, Delivery
from wire.deadlines import Deadline

_NOT_ANSWERED = {kind.code: kind for kind in errors.NotAnswered.__subclasses__()}


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
    """A request that waits for its answer; a door gives it the way back to its client.

    ``expires_at`` and ``arrived_at`` are points of ``time.monotonic``, in seconds. ``done`` says
    that it was answered or abandoned.
    """

    __slots__ = ("arrived_at", "asked", "batch", "done", "expires_at", "request_id")

    def __init__(self, request_id: str) -> None:
        """What is asked follows with ``expect``, once it is known."""
        self.request_id = request_id
        self.held = self.done = False
        self.batch: Batch | None = None

    def expect(self, asked: Asked, expires_at: float) -> None:
        """This is what is asked, and until when."""
        size_bytes = len(asked.instances)
        reference = policy.Reference(asked.model, asked.version, asked.alias, size_bytes > policy.LARGE_BYTES)
        super().__init__(reference, asked.rows_bound, size_bytes)
        self.asked = asked
        self.arrived_at = time.monotonic()
        self.expires_at = expires_at

    def answer(self, outcome: Outcome) -> None:
        """Tell the client; the coalescer calls it at most once."""
        raise NotImplementedError


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
        return [entry for entry in self.entries if not entry.done]


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
