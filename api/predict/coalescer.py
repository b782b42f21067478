"""Predictions on their way to the predictors: gathered into batches, sent, and told apart again.

Between the route and the broker: one request comes in, its own answer or error goes out. What
leaves when is decided by ``policy``; this module has the effects: the loop, the timers, the
copies. A request ends by its answer, by its own deadline, or when its client leaves, whatever
becomes of the batch it travels in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from api import metrics
from api.predict import batches, patience, policy
from api.predict.alone import Retrier
from api.predict.batches import Batch, Copy, Outcome, Pending
from wire import errors, logs, telemetry, topology
from wire.async_client import AsyncRpcClient, Delivery
from wire.settings import Predict

SWEEP_S = 0.05
"""Seconds between two looks at the clock for all requests together: a 504 is at most this late."""
FULL = int(0.9 * topology.PREDICT_BOUND)
"""Messages in the predict queue from which on new predictions are refused: beyond its bound it drops them."""
MOST_COPIES = 6
"""Times that one batch is sent at most: with two predictors, one of which froze, 1 in 64 has none but that one."""
PACES = 1024
"""Model references whose usual time is remembered."""


class Coalescer:
    """All predictions of a replica. For one event loop; ``start`` and ``close`` once each."""

    def __init__(self, rpc: AsyncRpcClient, limits: Predict) -> None:
        """``limits`` are the bounds of the path."""
        self._rpc = rpc
        self._limits = limits
        self._policy: policy.Policy[Pending] = policy.Policy(limits)
        self._live: set[Pending] = set()
        self._flushing: set[policy.Reference] = set()
        self._paces: dict[policy.Reference, patience.Pace] = {}
        self._budget = patience.Budget(limits.hedge_share)
        self._alone = Retrier(rpc, self._end)
        self._sweeper: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._nobody = ""
        self._full = False

    async def start(self) -> None:
        """Begin to look whether anybody predicts."""
        self._loop = asyncio.get_running_loop()
        self._watcher = self._loop.create_task(self._watch_consumers())
        metrics.held.set_function(lambda: self._policy.held)

    async def close(self) -> None:
        """Fail what is open and end every task."""
        self._nobody = "This replica is stopping."
        self._fail_all(errors.Unroutable(self._nobody))
        tasks = [task for task in (self._watcher, *self._alone.close()) if task is not None]
        for task in tasks:
            task.cancel()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def held(self) -> int:
        """Requests waiting or under way."""
        return self._policy.held

    @property
    def nobody(self) -> str:
        """Why every prediction is refused at the moment; empty when none is for want of a predictor."""
        return self._nobody

    # ------------------------------------------------------------------ requests

    def submit(self, pending: Pending) -> None:
        """Take a request in; its ``answer`` is called once, later, unless it leaves first.

        Raises errors.Overloaded (too much waits here), errors.Unroutable (nobody predicts) and
        errors.BrokerUnavailable; ``answer`` is then not called. Later failures are among the
        outcomes: whatever a predictor says, and errors.DeadlineExceeded.
        """
        if self._nobody:
            raise errors.Unroutable(self._nobody)
        if self._full:
            raise errors.Overloaded("More predictions wait in the broker than it may hold.")
        if not self._rpc.connected or self._rpc.blocked:
            raise errors.BrokerUnavailable
        oldest, backlog_bytes = self._policy.backlog(pending.reference)
        if oldest is not None and self._would_be_late(pending, oldest, backlog_bytes):
            raise errors.Overloaded("Those who asked before are waiting for so long that this would be too late.")
        self._policy.admit(pending)
        self._live.add(pending)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        self._flush_soon(pending.reference)

    def _would_be_late(self, pending: Pending, oldest: Pending, backlog_bytes: int) -> bool:
        most_s = self._limits.wait_share * (pending.expires_at - pending.arrived_at)
        pace = self._pace(pending.reference)
        return pace.would_be_late(pending.arrived_at - oldest.arrived_at, backlog_bytes, most_s)

    def leave(self, pending: Pending) -> None:
        """The client of a request has gone: nobody is answered, and its place is free. Harmless when repeated."""
        if not pending.done:
            self._release(pending)

    def _release(self, pending: Pending) -> None:
        pending.done = True
        self._live.discard(pending)
        self._policy.release(pending)
        batch, pending.batch = pending.batch, None
        if batch is not None:
            batch.open -= 1
            if batch.open == 0:
                self._settle(batch)

    def _end(self, pending: Pending, outcome: Outcome) -> None:
        """Give a request its end, if it still waits."""
        if pending.done:
            return
        self._release(pending)
        try:
            pending.answer(outcome)
        except Exception:
            # This runs in the broker connection's callback: what is wrong with one client's
            # connection must reach neither that one nor the other requests of the batch.
            logs.log("predict.failed", level="ERROR", exc_info=True, request_id=pending.request_id)

    def _fail_all(self, error: errors.WarrenError) -> None:
        for pending in tuple(self._live):
            self._end(pending, error)

    def _sweep(self) -> None:
        """End what is past its deadline."""
        self._sweeper = None
        now = time.monotonic()
        for pending in [one for one in self._live if now >= one.expires_at]:
            self._end(pending, errors.DeadlineExceeded())
        if self._live:
            self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    # ------------------------------------------------------------------ batches

    def _flush_soon(self, reference: policy.Reference) -> None:
        """Send at the end of this tick: what arrives together leaves together."""
        if reference not in self._flushing:
            self._flushing.add(reference)
            self._loop.call_soon(self._flush, reference)

    def _flush(self, reference: policy.Reference) -> None:
        self._flushing.discard(reference)
        pace = self._pace(reference)
        while entries := self._policy.take(reference, pace.batch_bytes):
            batch = Batch(reference, entries)
            self._budget.earn()
            metrics.batch_requests.observe(len(entries))
            batch.timer = self._loop.call_later(pace.patience_s, self._late, batch)
            self._send(batch)

    def _send(self, batch: Batch) -> None:
        """Send one copy of a batch, of the requests that still wait."""
        entries = batch.waiting()
        if not entries:
            return self._settle(batch)
        copy = Copy(self, batch, entries)
        batch.copies.add(copy)
        try:
            copy.send(self._rpc)
        except errors.WarrenError as error:
            self.failed(copy, error)
        return None

    def replied(self, copy: Copy, delivery: Delivery) -> None:
        """Give each request of a copy its end (batches.Carrier)."""
        self._rpc.close_stream(copy.key)
        try:
            outcomes = batches.read_reply(delivery, copy.entries, copy.sent_at)
        except errors.RetryAlone:
            self._come_back(copy.batch)
        except errors.WarrenError as error:
            self.failed(copy, error)
        except Exception:
            logs.log("predict.failed", level="ERROR", exc_info=True, model=copy.batch.reference.model)
            self.failed(copy, errors.InternalError())
        else:
            self._observe(copy.batch, outcomes)
            self._finish(copy, outcomes)

    def failed(self, copy: Copy, error: errors.WarrenError) -> None:
        """A copy has no answer; while another one may still have it, nobody is told (batches.Carrier)."""
        if isinstance(error, errors.NotAnswered) and len(copy.batch.copies) > 1:
            copy.batch.copies.discard(copy)
        else:
            self._finish(copy, [error] * len(copy.entries))

    def _finish(self, copy: Copy, outcomes: Sequence[Outcome]) -> None:
        self._settle(copy.batch)
        for pending, outcome in zip(copy.entries, outcomes, strict=True):
            self._end(pending, outcome)

    def _come_back(self, batch: Batch) -> None:
        """A predictor died with this batch: its requests go out again, one by one."""
        entries = batch.waiting()
        logs.log("predict.retried_alone", level="WARNING", model=batch.reference.model, requests=len(entries))
        self._settle(batch)
        for pending in entries:
            pending.batch = None
        self._alone.add(entries)

    def _late(self, batch: Batch) -> None:
        """A batch takes unusually long: let others go, and send it once more if the budget allows.

        The copy may meet the same frozen predictor, and the budget may allow later what it refuses now, so
        this comes again while somebody waits.
        """
        self._land(batch)
        if self._budget.spend():
            metrics.hedges.inc()
            self._send(batch)
        else:
            metrics.hedges_refused.inc()
        if not batch.settled and len(batch.copies) < MOST_COPIES and batch.waiting():
            again_s = self._pace(batch.reference).again_s(len(batch.copies))
            batch.timer = self._loop.call_later(again_s, self._late, batch)

    def _land(self, batch: Batch) -> None:
        if not batch.landed:
            batch.landed = True
            if self._policy.landed(batch.reference):
                self._flush_soon(batch.reference)

    def _settle(self, batch: Batch) -> None:
        """The end of a batch is known: give its place free and stop its other copies."""
        if batch.settled:
            return
        batch.settled = True
        if batch.timer is not None:
            batch.timer.cancel()
        for copy in batch.copies:
            self._rpc.close_stream(copy.key)
        # They name their batch, which would keep all of it until garbage is collected.
        batch.copies.clear()
        self._land(batch)

    def _observe(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        now = time.monotonic()
        seconds = now - batch.sent_at
        size_bytes = sum(entry.size_bytes for entry in batch.entries)
        compute_s = next((one.inference_s for one in outcomes if isinstance(one, batches.Answer)), 0.0)
        self._pace(batch.reference).observe(seconds, size_bytes, compute_s, now)
        metrics.batch_seconds.observe(seconds)
        telemetry.observe_rpc(topology.PREDICT, seconds)

    def _pace(self, reference: policy.Reference) -> patience.Pace:
        pace = self._paces.get(reference)
        if pace is None:
            if len(self._paces) >= PACES:
                del self._paces[next(iter(self._paces))]
            pace = self._paces[reference] = patience.Pace()
        return pace

    # ------------------------------------------------------------------ is anybody there

    async def _watch_consumers(self) -> None:
        """Ask every consumers_poll_s; while nobody predicts, waiting and new requests fail at once."""
        while True:
            error: errors.WarrenError | None = None
            try:
                state = await self._rpc.queue_state(topology.PREDICT)
                self._full = state.messages >= FULL
                self._nobody = "" if state.consumers else "No predictor is running at the moment."
                error = errors.Unroutable(self._nobody) if self._nobody else None
                if self._rpc.blocked:
                    error = errors.BrokerUnavailable("The message broker is short of memory or disk.")
            except errors.WarrenError as failure:
                # Not remembered: the client itself knows when it is connected again.
                self._nobody, error = "", failure
            except Exception:
                logs.log("probe.failed", level="ERROR", exc_info=True, queue=topology.PREDICT)
            if error is not None:
                self._fail_all(error)
            await asyncio.sleep(self._limits.consumers_poll_s)
