"""Find jobs that nobody works on any more, and bring them back.

Between the ledger and the jobs queue; every worker runs one. It believes no clock but its own
monotonic one: what matters is how long it has itself seen a lease or a waiting job stand still,
so a clock that jumps, here or elsewhere, expires nothing. Time in which it could not look does not
count: where the ledger was away, or the process frozen, nobody could renew either.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from api.ledger import Ledger
from api.ledger.rows import Watched
from wire import errors, logs

LOOK_AT_MOST = 500
"""Rows one look reads of each kind: the oldest matter first, the rest has its turn later."""

LONGEST_PAUSE_S = 3.0
"""Seconds between two looks, or a third of ``stale_s`` if that is more, after which the times begin anew."""

_LOST = errors.InternalError("The worker that followed this job was lost.").to_body()


class Seen(NamedTuple):
    """How a job looked, and since when (seconds of the reaper's clock) it has looked so."""

    mark: tuple[int, int, int, bool]
    since_s: float


class Reaper:
    """One worker's reaper; ``look`` is called about once a second."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        enqueue: Callable[[str, str], bool],
        queued_messages: Callable[[], int],
        clock: Callable[[], float],
        stale_s: float,
        attempts: int,
    ) -> None:
        """``enqueue(job_id, request_id)`` publishes; ``queued_messages()`` counts what is ready in the
        jobs queue and raises errors.BrokerUnavailable; ``clock`` is monotonic, in seconds.
        """
        self._ledger = ledger
        self._enqueue = enqueue
        self._queued_messages = queued_messages
        self._clock = clock
        self._stale_s = stale_s
        self._attempts = attempts
        self._seen: dict[str, Seen] = {}
        self._empty_since_s: float | None = None
        self._looked_s = -math.inf

    def look(self) -> None:
        """One look at everything. Raises errors.LedgerUnavailable."""
        now_s = self._clock()
        if now_s - self._looked_s > max(LONGEST_PAUSE_S, self._stale_s / 3):
            self._seen, self._empty_since_s = {}, None
        self._looked_s = -math.inf  # a look that fails counts as none: who holds a lease could not renew it either
        self._look(now_s)
        self._looked_s = now_s

    def _look(self, now_s: float) -> None:
        held = self._ledger.watching.held(LOOK_AT_MOST)
        waiting = self._ledger.watching.waiting(LOOK_AT_MOST)
        self._remember([*held, *waiting], now_s)
        for job in held:
            if self._stands_still(job, now_s):
                self._take_away(job)
        drained = self._queue_is_drained(now_s)
        for job in waiting:
            if self._stands_still(job, now_s) and (drained or not job.confirmed):
                self._bring_back(job)

    def _remember(self, jobs: list[Watched], now_s: float) -> None:
        seen = {}
        for job in jobs:
            mark = (job.epoch, job.beat, job.enqueues, job.confirmed)
            before = self._seen.get(job.job_id)
            seen[job.job_id] = before if before is not None and before.mark == mark else Seen(mark, now_s)
        self._seen = seen

    def _stands_still(self, job: Watched, now_s: float) -> bool:
        return now_s - self._seen[job.job_id].since_s >= self._stale_s

    def _queue_is_drained(self, now_s: float) -> bool:
        """Whether the jobs queue has been empty for so long that no waiting job's message is in it."""
        try:
            empty = self._queued_messages() == 0
        except errors.BrokerUnavailable:
            empty = False
        if not empty:
            self._empty_since_s = None
        elif self._empty_since_s is None:
            self._empty_since_s = now_s
        return self._empty_since_s is not None and now_s - self._empty_since_s >= self._stale_s

    def _take_away(self, job: Watched) -> None:
        expired = self._ledger.leases.expire(job, _LOST, limit=self._attempts)
        if expired is None:
            return  # it was renewed, or another reaper was faster
        logs.log("job.reaped", level="WARNING", job_id=job.job_id, attempt=job.attempts, holder=job.holder)
        if not expired.must_settle:
            self._enqueue(job.job_id, job.request_id)

    def _bring_back(self, job: Watched) -> None:
        if self._ledger.leases.requeue(job):
            logs.log("job.reaped", level="WARNING", job_id=job.job_id, attempt=job.attempts, holder="")
            self._enqueue(job.job_id, job.request_id)
