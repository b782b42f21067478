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
from typing import Final, NamedTuple

from predictor import inference, metrics
from predictor.inference import Answer, Asked, Outcome
from predictor.loaded import LoadedVersion
from predictor.references import References
from wire import errors, frames, logs
from wire.deadlines import Deadline
from wire.server import Handler, Request

MAX_REPLY_BYTES: Final = 11 * 1024 * 1024
"""Largest reply: with its frame it stays under RabbitMQ's 12 MiB."""

QUICK_S: Final = 0.002
"""Longest work on the thread that owns the connections: nobody notices what heartbeats wait for that long."""

QUICK_BYTES: Final = 65_536
"""Largest message done there: about what is decoded and answered in QUICK_S at the worst."""


class _Times(NamedTuple):
    """When a batch arrived here and when its work began, on the monotonic clock in seconds."""

    arrived_at: float
    started_at: float


class Batches:
    """Answers batches.

    Of those on the handler threads one is computed at a time, while another may be waiting for its
    version; quick ones are computed where they arrive, beside it (docs/decisions/0015).
    """

    def __init__(self, references: References, *, max_rows: int) -> None:
        """``max_rows`` bounds the rows of each request."""
        self._references = references
        self._max_rows = max_rows
        self._computing = threading.Lock()

    def shortcut(self, request: Request) -> Handler | None:
        """A handler for where the request arrived, when it will be done there within QUICK_S; or None.

        That is a first delivery of few bytes for a version that is in memory, that onnxruntime
        serves, and whose measured pace says so.
        """
        if request.kind != frames.BATCH_TYPE or request.redelivered or len(request.body) > QUICK_BYTES:
            return None
        header, blobs = frames.decode_batch(request.body)
        version = self._references.at_hand(header.model, header.version, header.alias)
        if version is None or version.runtime.kind != "onnx":
            return None
        begin = len(request.body) - sum(map(len, blobs))
        # A row opens with a bracket or a brace; so does each request's list of them.
        rows = request.body.count(b"[", begin) + request.body.count(b"{", begin) - len(blobs)
        if version.pace.estimate_s(max(rows, 1)) > QUICK_S:
            return None
        return functools.partial(self._reply, version, header, blobs, time.monotonic())

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
        with self._computing:
            self._reply(version, header, blobs, arrived_at, request)

    def _reply(
        self,
        version: LoadedVersion,
        header: frames.BatchHeader,
        blobs: Sequence[memoryview],
        arrived_at: float,
        request: Request,
    ) -> None:
        times = _Times(arrived_at, time.monotonic())
        cpu_s = time.thread_time()
        outcomes = self._answer(version, header, blobs, times)
        rows = sum(each.rows for each in outcomes if isinstance(each, Answer))
        version.pace.note(max(rows, 1), time.thread_time() - cpu_s)
        request.reply_raw(_frame(version, outcomes, times), frames.REPLY_TYPE)
        _count(outcomes, rows, times)

    def _answer(
        self, version: LoadedVersion, header: frames.BatchHeader, blobs: Sequence[memoryview], times: _Times
    ) -> list[Outcome]:
        waited_ms = (times.started_at - times.arrived_at) * 1000
        alive = [item.remaining_ms > waited_ms for item in header.items]
        asked = [
            Asked(blob, item.probabilities)
            for item, blob, in_time in zip(header.items, blobs, alive, strict=True)
            if in_time
        ]
        answered = inference.compute(version, asked, max_rows=self._max_rows)
        if len(answered) == len(blobs):
            return answered
        others = iter(answered)
        return [next(others) if in_time else errors.DeadlineExceeded() for in_time in alive]


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
    size_bytes = sum(len(each.members) for each in outcomes if isinstance(each, Answer))
    if size_bytes > MAX_REPLY_BYTES:
        if len(outcomes) > 1:
            raise errors.RetryAlone
        outcomes = [errors.TooLarge("The answer is too large for one message; ask for fewer rows at once.")]
    items, blobs = [], []
    for outcome in outcomes:
        if isinstance(outcome, Answer):
            items.append(frames.ReplyItem(len(outcome.members), outcome.rows))
            blobs.append(outcome.members)
        else:
            items.append(frames.ReplyItem(error=outcome.to_body()))
    inference_us = int((time.monotonic() - times.started_at) * 1e6)
    queue_us = int((times.started_at - times.arrived_at) * 1e6)
    return frames.encode(frames.ReplyHeader(tuple(items), version.version, inference_us, queue_us), blobs)


def _count(outcomes: Sequence[Outcome], rows: int, times: _Times) -> None:
    metrics.inference_seconds.observe(time.monotonic() - times.started_at)
    metrics.waited_seconds.observe(times.started_at - times.arrived_at)
    metrics.batch_rows.observe(rows)
    ended = Counter("done" if isinstance(outcome, Answer) else outcome.code for outcome in outcomes)
    for outcome, requests in ended.items():
        metrics.count_requests(outcome, requests)
