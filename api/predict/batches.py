"""A batch and its requests: from entries to a frame, from the reply to each request's answer.

Between the coalescer and the broker. A reply is matched to its request by the correlation id
(``wire``), and each answer to its entry by position, which the reply must have exactly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from api.predict import policy
from api.predict.envelope import Asked
from wire import errors, frames, messages, topology
from wire.async_client import AsyncRpcClient, Delivery

_TENSOR_BYTES = 256
"""What a tensor's description takes of memory, beside its name."""
_NOT_ANSWERED = {kind.code: kind for kind in errors.NotAnswered.__subclasses__()}
_OLDER = "The predictor that was asked is of an older version and cannot read this call; replace the predictors."


class Answer(NamedTuple):
    """One request's answer, and where its time went.

    ``members`` are JSON members (``"predictions":[…]``…) or, where outputs were wanted, the data of
    ``outputs``, for ``rows`` rows. ``queue_s`` are the seconds it waited here and in the broker,
    ``inference_s`` those its batch was computed, of which it was a ``share``.
    """

    version: int
    members: memoryview
    queue_s: float
    inference_s: float
    outputs: tuple[frames.Output, ...] = ()
    rows: int = 0
    share: float = 1.0


Outcome = Answer | errors.WarrenError
"""How one request of a batch ended."""


class Pending(policy.Entry):
    """A request that waits for its answer; a door gives it the way back to its client.

    ``expires_at`` and ``arrived_at`` are points of ``time.monotonic``, in seconds. ``done`` says
    that it was answered or abandoned. ``body_bytes`` are those of its body: the rows are a view of it.
    """

    __slots__ = ("arrived_at", "asked", "batch", "body_bytes", "done", "expires_at", "request_id")

    def __init__(self, request_id: str) -> None:
        """What is asked follows with ``expect``, once it is known."""
        self.request_id = request_id
        self.held = self.done = False
        self.body_bytes = 0
        self.batch: Batch | None = None

    def expect(self, asked: Asked, expires_at: float) -> None:
        """This is what is asked, and until when."""
        size_bytes = len(asked.instances)
        large = size_bytes > policy.LARGE_BYTES
        schema = frames.SCHEMA if asked.encoding == "json" else frames.SCHEMA_ENCODINGS
        reference = policy.Reference(asked.model, asked.version, asked.alias, large, schema)
        message_bytes = size_bytes + frames.ITEM_BYTES
        held_bytes = self.body_bytes if self.body_bytes > size_bytes else size_bytes
        if asked.tensors:
            message_bytes += frames.tensors_bytes(asked.tensors)
            held_bytes += _TENSOR_BYTES * len(asked.tensors)
        super().__init__(reference, asked.rows_bound, size_bytes, message_bytes, held_bytes)
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
        self.copies: set[Copy] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.landed = False
        self.settled = False
        for entry in entries:
            entry.batch = self

    def waiting(self) -> list[Pending]:
        """The requests that still wait for their answer."""
        return [entry for entry in self.entries if not entry.done]


class Carrier(Protocol):
    """Who sends copies and is told how they ended."""

    def replied(self, copy: Copy, delivery: Delivery) -> None:
        """The reply to a copy is here."""

    def failed(self, copy: Copy, error: errors.WarrenError) -> None:
        """A copy will have no reply."""


class Copy:
    """One message of a batch under way: ``entries`` are those that still waited when it was sent.

    It is the sink of its reply (wire.async_client.Sink).
    """

    __slots__ = ("_carrier", "batch", "entries", "key", "sent_at")

    def __init__(self, carrier: Carrier, batch: Batch, entries: Sequence[Pending]) -> None:
        """``carrier`` is told of the end."""
        self._carrier = carrier
        self.batch = batch
        self.entries = entries
        self.key = ""
        self.sent_at = time.monotonic()

    def send(self, rpc: AsyncRpcClient) -> None:
        """Put it on its way. Raises errors.BrokerUnavailable; errors.TooLarge for a request that no message holds.

        Unconfirmed: the reply says more than a confirm, and a copy that is lost is sent again.
        """
        body, remaining_ms = encode(self.batch.reference, self.entries, self.sent_at)
        self.key = rpc.open_stream(
            topology.PREDICT,
            body,
            frames.BATCH_TYPE,
            self,
            routing_key=topology.PREDICT,
            # In the logs a message is known by the id of its request, if it has only one.
            request_id=self.entries[0].request_id if len(self.entries) == 1 else "",
            remaining_ms=remaining_ms,
            confirmed=False,
        )

    def take(self, delivery: Delivery) -> None:
        """The reply (Sink)."""
        self._carrier.replied(self, delivery)

    def fail(self, error: errors.WarrenError) -> None:
        """There will be none (Sink)."""
        self._carrier.failed(self, error)


def encode(reference: policy.Reference, entries: Sequence[Pending], now: float) -> tuple[bytes, int]:
    """The message of these requests, and for how many milliseconds the most patient of them waits."""
    items = tuple(
        frames.BatchItem(
            entry.size_bytes,
            max(1, int((entry.expires_at - now) * 1000)),
            entry.asked.encoding,
            entry.asked.probabilities,
            entry.request_id,
            entry.asked.tensors,
            entry.asked.outputs,
        )
        for entry in entries
    )
    header = frames.BatchHeader(reference.model, items, reference.version, reference.alias, reference.schema)
    body = frames.encode(header, [entry.asked.instances for entry in entries])
    return body, max(item.remaining_ms for item in items)


def read_reply(delivery: Delivery, entries: Sequence[Pending], sent_at: float) -> list[Outcome]:
    """The outcomes that a reply holds; ``sent_at`` is when its batch left (``time.monotonic``).

    Raises the error of the whole batch, and errors.InternalError when the reply is not one.
    """
    if delivery.kind == messages.Failure.TYPE:
        failure = _readable(messages.Failure.decode, delivery).error
        # What was wrong with a client's request is said in its item; a frame of ours is read by its own kind.
        raise errors.Unroutable(_OLDER) if failure.code == errors.MalformedBody.code else error_of(failure)
    if delivery.kind != frames.REPLY_TYPE:
        raise errors.InternalError(f"a reply of kind {delivery.kind}")
    header, blobs = _readable(frames.decode_reply, delivery)
    if header.error is not None:
        raise error_of(header.error)
    if len(header.items) != len(entries):
        raise errors.InternalError("a reply with another number of answers")
    inference_s = header.inference_us / 1e6
    in_broker_s = header.queue_us / 1e6
    share = 1 / len(entries)
    return [
        Answer(
            header.version, blob, sent_at - entry.arrived_at + in_broker_s, inference_s, item.outputs, item.rows, share
        )
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
