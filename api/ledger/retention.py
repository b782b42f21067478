"""Forget jobs that ended long ago, with their events; the disk is a buffer too."""

from __future__ import annotations

from sqlalchemy import and_, delete, or_, select

from api.ledger import rows, tables
from api.ledger.database import Database

_jobs = tables.jobs.c


def forget_jobs(database: Database, *, before_ms: int, limit: int) -> int:
    """Delete at most ``limit`` jobs that ended (or were withdrawn) before ``before_ms``; how many.

    A failed job whose dead letter is not out yet stays. Raises errors.LedgerUnavailable.
    """
    ended = and_(_jobs.status.in_(rows.ENDED), _jobs.ended_ms < before_ms, _jobs.dead_letter != "due")
    withdrawn = and_(_jobs.status == "withdrawn", _jobs.created_ms < before_ms)
    forgettable = or_(ended, withdrawn)
    old = select(_jobs.job_id).where(forgettable).order_by(_jobs.number).limit(limit)
    with database.writing() as connection:
        job_ids = list(connection.execute(old).scalars())
        # Asked once more: a withdrawn job's key may have made it live meanwhile. Its events go with a job's row.
        return connection.execute(delete(tables.jobs).where(_jobs.job_id.in_(job_ids), forgettable)).rowcount
