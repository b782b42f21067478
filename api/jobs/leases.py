"""Keep the leases of the jobs this worker follows: one thread renews them all.

Between the ledger and the threads that follow trainings. It also brings back what the ledger
knows and a follower must hear: that the lease is lost, or that a cancel was asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api.ledger.leases import Leases
from api.ledger.rows import Job
from wire import logs


@dataclass
class Held:
    """A lease in use. ``lost``: somebody took it away. ``cancel``: the job is to be cancelled."""

    job: Job
    lost: bool = False
    cancel: bool = False

    def lose(self) -> None:
        """Somebody took it away: say so (twice where two threads learn of it in the same moment)."""
        if not self.lost:
            self.lost = True
            logs.log("lease.lost", level="WARNING", job_id=self.job.job_id)


class LeaseKeeper:
    """Renews what is held; ``look`` is called every half second by the worker's maintenance."""

    def __init__(self, leases: Leases, renew_s: float) -> None:
        self._leases = leases
        self._renew_s = renew_s
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._renewed_at = time.monotonic()

    @contextmanager
    def hold(self, job: Job) -> Iterator[Held]:
        """Keep the lease of a job that ``Leases.take`` gave, until the block ends."""
        held = Held(job, cancel=job.cancel_requested)
        with self._lock:
            self._held[job.job_id] = held
        try:
            yield held
        finally:
            with self._lock:
                if self._held.get(job.job_id) is held:
                    del self._held[job.job_id]

    @property
    def count(self) -> int:
        """How many leases are held now."""
        return len(self._held)

    def look(self) -> None:
        """Renew if it is time, else only ask for cancels. Raises errors.LedgerUnavailable."""
        with self._lock:
            held = list(self._held.values())
        now = time.monotonic()
        if now - self._renewed_at >= self._renew_s:
            self._renew(held)
            self._renewed_at = now
        elif held:
            asked = self._leases.cancels([one.job.job_id for one in held])
            for one in held:
                one.cancel = one.cancel or one.job.job_id in asked

    def _renew(self, held: list[Held]) -> None:
        if not held:
            return
        renewed = self._leases.renew([(one.job.job_id, one.job.epoch) for one in held])
        for one in held:
            renewal = renewed.get(one.job.job_id)
            if renewal is not None:
                one.cancel = one.cancel or renewal.cancel_requested
            else:
                one.lose()
