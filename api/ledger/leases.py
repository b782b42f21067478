"""Jobs as a worker sees them: take a lease, renew it, tell progress, end the job.

Between ``api.jobs`` and the database. A lease is (job, epoch): taking one raises the epoch, and
every later change names the epoch it was given, so a worker that lost its lease while it was
away changes nothing. The lease, not the broker's delivery, protects the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, and_, case, or_, select, true, update

from api.ledger import changes, rows, tables
from api.ledger.database import Database, now_ms
from api.ledger.jobs import LIVE
from wire import errors

_jobs = tables.jobs.c
_must_settle = or_(_jobs.cancel_requested, _jobs.settle_due)

Ending = Literal["succeeded", "failed", "cancelled"]
"""How a job ends."""


class Ended(msgspec.Struct, frozen=True):
    """A terminal state: ``result`` for succeeded, ``error`` for failed; ``dead`` asks for a dead letter."""

    status: Ending
    result: dict[str, Any] | None = None
    error: errors.ErrorBody | None = None
    dead: bool = False


class Leases:
    """The ``jobs`` table from the worker's side. Every method raises errors.LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, job_id: str, holder: str) -> rows.Job | None:
        """Lease the job; None when it has ended, was withdrawn, is gone or is held by another.

        Counts an attempt, unless all that is left is to ask the volume and end it
        (``Job.must_settle``). Asked again with the same ``holder``, it gives the same lease: the
        commit may have been done though its answer got lost.
        """
        mine = and_(_jobs.job_id == job_id, LIVE, _jobs.holder == holder)
        counted = case((_must_settle, _jobs.attempts), else_=_jobs.attempts + 1)
        with self._database.writing() as connection:
            taken = changes.change(
                connection,
                and_(_jobs.job_id == job_id, LIVE, _jobs.holder.is_(None)),
                holder=holder,
                attempts=counted,
                epoch=_jobs.epoch + 1,
                beat=_jobs.beat + 1,
                confirmed=True,
            )
            if taken is not None:
                return taken
            row = connection.execute(select(tables.jobs).where(mine)).one_or_none()
            return None if row is None else rows.job(row)

    def renew(self, held: Sequence[tuple[str, int]]) -> dict[str, rows.Renewal]:
        """Renew leases given as (job id, epoch); a lease that is missing in the answer is lost."""
        with self._database.writing() as connection:
            renewed = [
                connection.execute(
                    update(tables.jobs)
                    .where(_holds(job_id, epoch))
                    .values(beat=_jobs.beat + 1)
                    .returning(_jobs.job_id, _jobs.cancel_requested)
                ).one_or_none()
                for job_id, epoch in sorted(held)  # one order everywhere: no deadlock between workers
            ]
        return {row.job_id: rows.Renewal(row.job_id, row.cancel_requested) for row in renewed if row is not None}

    def cancels(self, job_ids: Sequence[str]) -> set[str]:
        """Those of the jobs whose cancelling was asked for."""
        statement = select(_jobs.job_id).where(_jobs.job_id.in_(job_ids), _jobs.cancel_requested)
        with self._database.reading() as connection:
            return set(connection.execute(statement).scalars())

    def progress(self, job_id: str, epoch: int, *, fraction: float, stage: str, message: str) -> bool:
        """Store progress and its event; the first one makes the job ``running``. False: lease lost."""
        with self._database.writing() as connection:
            said = {"fraction": fraction, "stage": stage, "message": message}
            first = changes.change(
                connection,
                _holds(job_id, epoch),
                _jobs.status == "queued",
                event="running",
                status="running",
                started_ms=now_ms(),
                **said,
            )
            if first is not None:
                return True
            return changes.change(connection, _holds(job_id, epoch), event="progress", **said) is not None

    def give_back(self, job: rows.Job) -> bool:
        """Return a lease unused: the attempt does not count. False: lease lost.

        ``job`` is what ``take`` gave. The caller publishes the job again.
        """
        attempts = _jobs.attempts - (0 if job.must_settle else 1)
        return self._change(_holds(job.job_id, job.epoch), attempts=attempts, **_RELEASED) is not None

    def fail_attempt(self, job_id: str, epoch: int, error: errors.ErrorBody, *, limit: int) -> rows.Job | None:
        """The attempt failed through no fault of the input; None: lease lost.

        Below ``limit`` attempts the job waits for the next one and the caller publishes it;
        otherwise it waits to be settled (``settle_due``).
        """
        return self._fail(_holds(job_id, epoch), error, limit)

    def expire(self, job: rows.Watched, error: errors.ErrorBody, *, limit: int) -> rows.Job | None:
        """Take the lease away if it was not renewed since ``job`` was read; then as a failed attempt."""
        still = and_(_holds(job.job_id, job.epoch), _jobs.beat == job.beat)
        return self._fail(still, error, limit)

    def _fail(self, condition: ColumnElement[bool], error: errors.ErrorBody, limit: int) -> rows.Job | None:
        spent = _jobs.attempts >= limit
        return self._change(
            condition,
            event="retrying",
            settle_due=or_(_jobs.settle_due, spent),
            stage="waiting",
            message=f"The last attempt failed ({error.code}); the job goes on by itself.",
            error_code=case((_jobs.settle_due, _jobs.error_code), (spent, error.code), else_=None),
            error_message=case((_jobs.settle_due, _jobs.error_message), (spent, error.message), else_=None),
            **_RELEASED,
        )

    def release(self, job: rows.Job, *, cancelled: bool) -> bool:
        """Return a lease because the volume could not be asked; it stays to be settled, by no message.

        ``cancelled`` says that the job is to end cancelled, should its row not say so yet.
        """
        wanted = true() if cancelled else _jobs.cancel_requested
        return self._change(_holds(job.job_id, job.epoch), holder=None, cancel_requested=wanted) is not None

    def finish(self, job_id: str, epoch: int, ended: Ended) -> bool:
        """End the job, once and for all. False: the lease was lost or the job has ended already."""
        values: dict[str, Any] = {"status": ended.status, "ended_ms": now_ms(), "holder": None}
        values |= {"error_code": None, "error_message": None, "dead_letter": "due" if ended.dead else ""}
        if ended.result is not None:
            values |= {"result": msgspec.json.encode(ended.result).decode(), "fraction": 1.0, "stage": "done"}
            values["message"] = ""
        if ended.error is not None:
            values |= {"error_code": ended.error.code, "error_message": ended.error.message}
        return self._change(_holds(job_id, epoch), event=ended.status, **values) is not None

    def requeue(self, job: rows.Watched) -> bool:
        """Claim the right to publish a waiting job again; only one of several reapers gets it."""
        unchanged = and_(_jobs.job_id == job.job_id, _jobs.enqueues == job.enqueues)
        waiting = and_(unchanged, LIVE, _jobs.holder.is_(None))
        return self._change(waiting, confirmed=False, enqueues=_jobs.enqueues + 1) is not None

    def _change(self, condition: ColumnElement[bool], **values: Any) -> rows.Job | None:
        with self._database.writing() as connection:
            return changes.change(connection, condition, **values)


_RELEASED: dict[str, Any] = {"holder": None, "confirmed": False, "enqueues": _jobs.enqueues + 1}


def _holds(job_id: str, epoch: int) -> ColumnElement[bool]:
    return and_(_jobs.job_id == job_id, _jobs.epoch == epoch, _jobs.holder.is_not(None), LIVE)
