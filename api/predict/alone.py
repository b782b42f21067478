"""Requests of a batch that came back, sent once more by themselves.

Beside the coalescer. A predictor that dies gives its batch back to the broker, and the next one
answers ``retry_alone`` instead of computing it: one of its requests may be what killed the
first. Sent one after another, each alone, the harmless ones are answered and nobody notices; a
request that comes back again has ended two predictors and is answered ``inference_crashed``.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from api import metrics
from api.predict import batches
from api.predict.batches import Outcome, Pending
from wire import errors, frames, logs, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline

PATIENCE_S = 0.25
"""Seconds one request keeps the next from being sent: long enough for a crash to be over, and
short enough that a slow request does not use up the time of those behind it."""


class Retrier:
    """Sends requests one by one. For one event loop; what waits here is bounded by the policy."""

    def __init__(self, rpc: AsyncRpcClient, end: Callable[[Pending, Outcome], None]) -> None:
        """``end`` gives a request its outcome."""
        self._rpc = rpc
        self._end = end
        self._line: deque[Pending] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._sent: set[asyncio.Task[None]] = set()

    def add(self, entries: Iterable[Pending]) -> None:
        """Send these as soon as those before them are answered."""
        self._line.extend(entries)
        if self._runner is None:
            self._runner = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> list[asyncio.Task[None]]:
        """The tasks that are under way, for the caller to cancel."""
        self._line.clear()
        return [*self._sent, *([self._runner] if self._runner else [])]

    async def _run(self) -> None:
        # One at a time: a predictor that dies gives back everything it holds, and a harmless
        # request that it holds beside the poisonous one would look poisonous too.
        try:
            while self._line:
                task = asyncio.get_running_loop().create_task(self._one(self._line.popleft()))
                self._sent.add(task)
                task.add_done_callback(self._sent.discard)
                await asyncio.wait((task,), timeout=PATIENCE_S)
        finally:
            self._runner = None

    async def _ask(self, pending: Pending) -> Outcome:
        sent_at = time.monotonic()
        body, _ = batches.encode(pending.reference, (pending,), sent_at)
        delivery = await self._rpc.call_raw(
            topology.PREDICT,
            body,
            frames.BATCH_TYPE,
            deadline=Deadline(pending.expires_at),
            request_id=pending.request_id,
        )
        (outcome,) = batches.read_reply(delivery, (pending,), sent_at)
        return outcome

    async def _one(self, pending: Pending) -> None:
        if pending.done:
            return
        metrics.retried_alone.inc()
        outcome: Outcome
        try:
            outcome = await self._ask(pending)
        except errors.RetryAlone:
            outcome = errors.InferenceCrashed()
        except errors.WarrenError as error:
            outcome = error
        if isinstance(outcome, errors.RetryAlone):
            outcome = errors.InferenceCrashed()
        if isinstance(outcome, errors.InferenceCrashed):
            metrics.crashed.inc()
            logs.log(
                "predict.failed",
                level="ERROR",
                request_id=pending.request_id,
                model=pending.reference.model,
                code=outcome.code,
                size_bytes=pending.size_bytes,
            )
        self._end(pending, outcome)
