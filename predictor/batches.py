"""The predict queue's handler: a frame comes in, the frame of its answers goes out.

Between the RPC server and the inference. Requests that expired are dropped before anything is
computed; a batch that was delivered before is not computed at all, because it may be what ended
the process that had it: the replica sends its requests once more, one by one.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import Final, NamedTuple

from model_store.runtime import PART_ROWS
from predictor import encodings, inference, metrics
from predictor.encodings import Answer, Asked
from predictor.inference import Outcome
from predictor.loaded import LoadedVersion
from predictor.references import References
from wire import errors, frames, logs, topology
from wire.deadlines import Deadline
from wire.server import Handler, Request

MAX_REPLY_BYTES: Final = topology.MAX_MESSAGE_BYTES
"""Largest reply, its header included."""

QUICK_S: Final = 0.002
"""Longest work on the thread that owns the connections: nobody notices what heartbeats wait for that long."""

QUICK_BYTES: Final = 65_536
"""Largest message done there: about what is decoded and answered in QUICK_S at the worst."""

_LOOK_BYTES: Final = 4_096
"""Bytes of a large message's rows that are looked at to see how close rows stand: counting all takes milliseconds."""

_ANSWER_TOO_LARGE: Final = "The answer is too large for one message; ask for fewer rows at once."


class _Times(NamedTuple):
    """When a batch arrived here and when its work began, on the monotonic clock in seconds."""

    arrived_at: float
    started_at: float


class Batches:
    """Answers batches.

    Of those on the handler threads two are computed at a time, one of them of up to PART_ROWS rows and
    one larger, so that a few rows don't wait for many; others may be waiting for their version. Quick
    ones are computed where they arrive, beside both (docs/decisions/0015). Each that waits keeps its place
    among the ``predict.prefetch`` (8) that are held: with that many large ones here nothing else arrives.
    """

    def __init__(self, references: References, *, max_rows: int) -> None:
        """``max_rows`` bounds the rows of each request."""
        self._references = references
        self._max_rows = max_rows
        self._few = threading.Lock()
        self._many = threading.Lock()

    def shortcut(self, request: Request) -> Handler | None:
        """Answer a batch where it arrived, when that takes less than QUICK_S: what sends the answers, or None.

        That is a first delivery of few bytes for a version that is in memory, that onnxruntime
        serves, and whose measured pace says so; and every request in it is as usual.
        """
        if request.kind != frames.BATCH_TYPE or request.redelivered or len(request.body) > QUICK_BYTES:
            return None
        header, blobs = frames.decode_batch(request.body)
        version = self._references.at_hand(header.model, header.version, header.alias)
        if version is None or version.runtime.kind != "onnx":
            return None
        rows = _row_bound(request.body, header, blobs)
        if version.pace.estimate_s(rows) > QUICK_S or any(each.remaining_ms <= 0 for each in header.items):
            return None
        now = time.monotonic()
        outcomes = self._usual(version, _asked(header.items, blobs))
        return None if outcomes is None else functools.partial(_send, version, outcomes, _Times(now, now))

    def handle(self, request: Request) -> None:
        """Answer one delivery. Raises what the whole batch fails with."""
        if request.kind != frames.BATCH_TYPE:
            raise errors.MalformedBody(f"not a {frames.BATCH_TYPE} message")
        header, blobs = frames.decode_batch(request.body)
        if request.redelivered:
            metrics.redelivered.inc()
            logs.log("predict.retried_alone", level="WARNING", model=header.model, requests=len(blobs))
            raise errors.RetryAlone
        arrived_at = _arrived_at(request, header)
        deadline = request.deadline or Deadline(arrived_at + max(map(_remaining_s, header.items), default=0.0))
        version = self._references.resolve(header.model, header.version, header.alias, deadline)
        with self._many if _has_many_rows(request.body, header, blobs) else self._few:
            times = _Times(arrived_at, time.monotonic())
            outcomes = self._answer(version, header, blobs, times)
        _send(version, outcomes, times, request)

    def _answer(
        self, version: LoadedVersion, header: frames.BatchHeader, blobs: Sequence[memoryview], times: _Times
    ) -> list[Outcome]:
        waited_ms = (times.started_at - times.arrived_at) * 1000
        alive = [item.remaining_ms > waited_ms for item in header.items]
        asked = list(compress(_asked(header.items, blobs), alive))
        answered = self._usual(version, asked) or self._each_alone(version, asked)
        if len(answered) == len(blobs):
            return answered
        others = iter(answered)
        return [next(others) if in_time else errors.DeadlineExceeded() for in_time in alive]

    def _usual(self, version: LoadedVersion, asked: Sequence[Asked]) -> list[Outcome] | None:
        """What is as usual, answered and its time noted; None for anything else, whose time says nothing."""
        begun_s = time.thread_time()
        try:
            answered = inference.together(version, asked, self._max_rows)
        except MemoryError:
            return None
        if answered:
            rows = sum(each.rows for each in answered if isinstance(each, Answer))
            version.pace.note(rows, time.thread_time() - begun_s)
        return answered

    def _each_alone(self, version: LoadedVersion, asked: Sequence[Asked]) -> list[Outcome]:
        """Each request's answer or error. Raises RetryAlone when only all of them together need too much memory."""
        try:
            return inference.each_alone(version, asked, self._max_rows)
        except MemoryError:
            if len(asked) > 1:
                raise errors.RetryAlone from None
            return [encodings.no_room()]


def _asked(items: Sequence[frames.BatchItem], blobs: Sequence[memoryview]) -> list[Asked]:
    return list(map(encodings.asked, items, blobs))


def _row_bound(body: bytes, header: frames.BatchHeader, blobs: Sequence[memoryview]) -> int:
    """About how many rows a batch has, without decoding it."""
    if header.schema != frames.SCHEMA:
        return sum(map(encodings.row_bound, _asked(header.items, blobs)))
    return max(1, _openings(body, len(body) - sum(map(len, blobs)), len(body)) - len(blobs))


def _has_many_rows(body: bytes, header: frames.BatchHeader, blobs: Sequence[memoryview]) -> bool:
    """Whether a batch has more than PART_ROWS rows, going by its beginning where it is large."""
    begin = len(body) - sum(map(len, blobs))
    seen = begin + _LOOK_BYTES
    if header.schema != frames.SCHEMA or len(body) <= seen:
        return _row_bound(body, header, blobs) > PART_ROWS
    rows = _openings(body, begin, seen) * (len(body) - begin) / _LOOK_BYTES - len(blobs)
    return rows > PART_ROWS


def _openings(body: bytes, begin: int, end: int) -> int:
    # A row opens with a bracket or a brace; so does each request's list of them.
    return body.count(b"[", begin, end) + body.count(b"{", begin, end)


def _send(version: LoadedVersion, outcomes: Sequence[Outcome], times: _Times, request: Request) -> None:
    """Reply, and count what was done."""
    request.reply_raw(_frame(version, outcomes, times), frames.REPLY_TYPE)
    _count(outcomes, times)


def _arrived_at(request: Request, header: frames.BatchHeader) -> float:
    """When the delivery came: its deadline was set then, the time left of its most patient request later."""
    longest_s = max(map(_remaining_s, header.items), default=0.0)
    if request.deadline is None:
        return time.monotonic()
    return min(request.deadline.at - longest_s, time.monotonic())


def _remaining_s(item: frames.BatchItem) -> float:
    return item.remaining_ms / 1000


def _frame(version: LoadedVersion, outcomes: Sequence[Outcome], times: _Times) -> bytes:
    """The reply. Raises RetryAlone when only all the answers together are too large for one message."""
    items: list[frames.ReplyItem] = []
    blobs: list[bytes] = []
    for outcome in outcomes:
        if isinstance(outcome, Answer):
            items.append(frames.ReplyItem(len(outcome.members), outcome.rows, outputs=outcome.outputs))
            blobs.append(outcome.members)
        else:
            items.append(frames.ReplyItem(error=outcome.to_body()))
    inference_us = int((time.monotonic() - times.started_at) * 1e6)
    queue_us = int((times.started_at - times.arrived_at) * 1e6)
    schema = frames.SCHEMA_ENCODINGS if any(item.outputs for item in items) else frames.SCHEMA
    header = frames.ReplyHeader(tuple(items), version.version, inference_us, queue_us, None, schema)
    frame = frames.encode(header, blobs)
    if len(frame) <= MAX_REPLY_BYTES:
        return frame
    if len(outcomes) > 1:
        raise errors.RetryAlone
    refused = frames.ReplyItem(error=errors.TooLarge(_ANSWER_TOO_LARGE).to_body())
    return frames.encode(frames.ReplyHeader((refused,), version.version, inference_us, queue_us), [])


def _count(outcomes: Sequence[Outcome], times: _Times) -> None:
    metrics.inference_seconds.observe(time.monotonic() - times.started_at)
    metrics.waited_seconds.observe(times.started_at - times.arrived_at)
    metrics.batch_rows.observe(sum(each.rows for each in outcomes if isinstance(each, Answer)))
    failed = Counter(each.code for each in outcomes if not isinstance(each, Answer))
    metrics.count_requests("done", len(outcomes) - failed.total())
    for code, requests in failed.items():
        metrics.count_requests(code, requests)
