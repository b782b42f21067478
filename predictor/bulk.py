"""The bulk queue's handler: a block of rows of an offline prediction comes in, its answers go out.

Between the RPC server and the inference, on a thread of its own, one block at a time and a few
milliseconds of it at once: before each part it waits until no live prediction is here. A block that was
delivered before is not computed: it may be what ended the process that had it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from model_store.runtime import PART_ROWS, CannotPredict, Output
from predictor import answers, encodings, inference, metrics
from predictor.encodings import Asked
from predictor.inference import Outcome
from predictor.live_traffic import LiveTraffic
from predictor.loaded import LoadedVersion
from predictor.references import References
from tables.batch import Batch
from wire import errors, frames, logs
from wire.deadlines import Deadline
from wire.server import Request

LOAD_S: Final = 30.0
"""Seconds a block waits for its version to be loaded."""

FIXED_ROWS: Final = 100
"""Rows computed at once where nothing is proven about batches, as for scikit-learn: always the same parts of a
block, so that a repeated job gives the same answers."""

_LEAST_ROWS = 16


class Bulk:
    """Answers blocks."""

    def __init__(self, references: References, traffic: LiveTraffic, *, max_rows: int, slice_s: float) -> None:
        """``max_rows`` bounds a block; ``slice_s`` is about how long one part is computed."""
        self._references = references
        self._traffic = traffic
        self._max_rows = max_rows
        self._slice_s = slice_s
        self._worked_s = 0.0
        self._resumed_at = 0.0

    def handle(self, request: Request) -> None:
        """Answer one block. Raises what the whole block fails with."""
        if request.kind != frames.BATCH_TYPE:
            raise errors.MalformedBody(f"not a {frames.BATCH_TYPE} message")
        header, blobs = frames.decode_batch(request.body)
        if len(blobs) != 1:
            raise errors.MalformedBody("a block is one request")
        if request.redelivered:
            metrics.bulk_redelivered.inc()
            logs.log("predict.retried_alone", level="WARNING", model=header.model, requests=1)
            raise errors.RetryAlone
        version = self._references.resolve(header.model, header.version, header.alias, Deadline.after(LOAD_S))
        self._rest()
        started_at = time.monotonic()
        outcome, rows = self._answer(version, Asked(blobs[0], header.items[0].probabilities))
        metrics.bulk_seconds.observe(time.monotonic() - started_at)
        metrics.bulk_rows.inc(rows)
        request.reply_raw(_frame(version, outcome), frames.REPLY_TYPE)
        self._worked_s = time.monotonic() - self._resumed_at

    def _rest(self) -> None:
        """Wait after the part before, and before the next."""
        self._traffic.wait_quiet(self._worked_s)
        self._resumed_at = time.monotonic()

    def _answer(self, version: LoadedVersion, asked: Asked) -> tuple[Outcome, int]:
        """The block's answer or error, and how many rows were answered."""
        batch = encodings.decode(version.schema, asked, self._max_rows)
        if isinstance(batch, errors.WarrenError):
            return batch, 0
        try:
            output = inference.whole(list(self._parts(version, batch, asked.probabilities)))
            members = answers.encode(version, output, 0, len(batch), probabilities=asked.probabilities)
        except CannotPredict:
            return errors.BadInput("The model has no answer for these rows: a number in them is too large for it."), 0
        except errors.WarrenError as error:
            return error, 0
        return encodings.Answer(members, len(batch)), len(batch)

    def _parts(self, version: LoadedVersion, batch: Batch, probabilities: bool) -> Iterator[Output]:
        start = 0
        while start < len(batch):
            if start:
                self._worked_s = time.monotonic() - self._resumed_at
                self._rest()
            part = batch.rows(start, start + self._rows_at_once(version, len(batch) - start))
            yield version.runtime.predict(part.numbers, part.texts, probabilities)
            start += len(part)

    def _rows_at_once(self, version: LoadedVersion, left: int) -> int:
        """How many rows take about a slice: what is known of the version's pace says it."""
        if version.runtime.kind != "onnx":
            return FIXED_ROWS
        rows = min(left, PART_ROWS)
        while rows > _LEAST_ROWS and version.pace.estimate_s(rows) > self._slice_s:
            rows //= 2
        return rows


def _frame(version: LoadedVersion, outcome: Outcome) -> bytes:
    if isinstance(outcome, errors.WarrenError):
        return frames.encode(frames.ReplyHeader((frames.ReplyItem(error=outcome.to_body()),), version.version), [])
    item = frames.ReplyItem(len(outcome.members), outcome.rows)
    return frames.encode(frames.ReplyHeader((item,), version.version), [outcome.members])
