"""What a worker does with one job: lease it, follow it, and write down how it ended.

Between a Celery message and the ledger. The message is acknowledged as soon as the lease is in
the ledger: from then on the lease protects the job, however long the training takes.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from typing import TypeVar

from api.jobs.ending import Settler
from api.jobs.enqueueing import Enqueuer
from api.jobs.following import Done, Failed, Follower, Outcome
from api.jobs.leases import Held, LeaseKeeper
from api.ledger import Ledger
from api.ledger.leases import Ended
from api.ledger.rows import Job
from api.offline.attempt import Attempts
from api.offline.order import KIND
from wire import errors, logs, settings
from wire.client import RpcClient

T = TypeVar("T")

LEDGER_TRIES = 60
"""How often a write that must not be lost is tried while the ledger is away; a second apart."""
_RETRY_PAUSE_S = 1.0


class LedgerGone(Exception):
    """The ledger did not answer for too long; a message not acknowledged yet must stay with the broker."""


class JobTask:
    """Follows jobs, each in the thread that calls; shared by all threads of a worker."""

    def __init__(
        self,
        config: settings.Train,
        ledger: Ledger,
        rpc: RpcClient,
        enqueuer: Enqueuer,
        keeper: LeaseKeeper,
        *,
        offline: Attempts,
        name: str,
        stopping: threading.Event,
    ) -> None:
        self._offline = offline
        self._config = config
        self._ledger = ledger
        self._rpc = rpc
        self._enqueuer = enqueuer
        self._keeper = keeper
        self._settler = Settler(rpc, config, stopping)
        self._name = name
        self._stopping = stopping

    def run(self, job_id: str, acknowledge: Callable[[], None]) -> None:
        """Lease the job, acknowledge its message, follow it to an end. Raises LedgerGone."""
        if self._stopping.is_set():
            raise LedgerGone
        holder = self._holder()
        job = self._persist(lambda: self._ledger.leases.take(job_id, holder))
        acknowledge()
        if job is None:
            logs.log("job.dropped", job_id=job_id)
            return
        self._work(job)

    def settle(self, job_id: str) -> None:
        """Lease a job that only has to be settled, and try to end it."""
        job = self._ledger.leases.take(job_id, self._holder())
        if job is not None:
            self._work(job)

    def _holder(self) -> str:
        """A name for one lease: two threads of a worker that ask for one job are two, a repeated question is one."""
        return f"{self._name}/{uuid.uuid4().hex}"

    def _work(self, job: Job) -> None:
        logs.request_id_var.set(job.request_id)
        logs.log("lease.taken", job_id=job.job_id, attempt=job.attempts, model=job.model)
        with self._keeper.hold(job) as held:
            if job.must_settle:
                self._settle(held, cancelled=job.cancel_requested)
            else:
                self._conclude(held, self._follow(held))

    def _follow(self, held: Held) -> Outcome:
        if held.job.kind == KIND:
            return self._offline.run(held)
        return Follower(self._rpc, self._ledger.leases, self._config, held, self._stopping).run()

    def _conclude(self, held: Held, outcome: Outcome) -> None:
        if isinstance(outcome, Done):
            self._finish(held, outcome.ended)
        elif isinstance(outcome, Failed) and outcome.final:
            self._finish(held, Ended("failed", error=outcome.error))
        elif isinstance(outcome, Failed):
            self._fail_attempt(held, outcome.error)
        elif outcome.cancel:
            self._settle(held, cancelled=True)
        elif not outcome.lost:
            self._give_back(held)

    def _finish(self, held: Held, ended: Ended) -> None:
        job = held.job
        kept = self._persist(lambda: self._ledger.leases.finish(job.job_id, job.epoch, ended))
        if kept:
            code = ended.error.code if ended.error else ""
            logs.log("job.finished", job_id=job.job_id, status=ended.status, error=code, attempts=job.attempts)
        else:
            held.lose()

    def _fail_attempt(self, held: Held, error: errors.ErrorBody) -> None:
        job, limit = held.job, self._config.attempts
        logs.log("train.failed", level="WARNING", job_id=job.job_id, attempt=job.attempts, error=error.code)
        if job.attempts < limit:
            self._pause()
        failed = self._persist(lambda: self._ledger.leases.fail_attempt(job.job_id, job.epoch, error, limit=limit))
        if failed is None:
            held.lose()
        elif failed.settle_due:
            self.settle(job.job_id)
        else:
            self._enqueuer.enqueue(job.job_id, job.request_id)

    def _settle(self, held: Held, *, cancelled: bool) -> None:
        settler = self._offline if held.job.kind == KIND else self._settler
        ended = settler.settle(held, cancelled=cancelled)
        if ended is not None:
            self._finish(held, ended)
        else:
            self._persist(lambda: self._ledger.leases.release(held.job, cancelled=cancelled))

    def _give_back(self, held: Held) -> None:
        job = held.job
        self._pause()  # for a trainer that stops; where this process does, there is none
        if self._persist(lambda: self._ledger.leases.give_back(job)):
            self._enqueuer.enqueue(job.job_id, job.request_id)

    def _persist(self, write: Callable[[], T]) -> T:
        """Write, and again while the ledger is away, bounded. Raises LedgerGone in the end.

        A job left behind keeps its lease, which nobody renews any more: the reaper takes it.
        """
        for _ in range(LEDGER_TRIES):
            try:
                return write()
            except errors.LedgerUnavailable:
                if self._pause():
                    break
        raise LedgerGone

    def _pause(self) -> bool:
        """Wait before something is tried again; True: this process stops."""
        return self._stopping.wait(_RETRY_PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
