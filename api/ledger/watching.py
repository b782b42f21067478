"""What the worker's maintenance looks at: held leases, waiting jobs, and jobs to be settled."""

from __future__ import annotations

from sqlalchemy import ColumnElement, not_, or_, select, update

from api.ledger import rows, tables
from api.ledger.database import Database
from api.ledger.jobs import LIVE

_jobs = tables.jobs.c
_must_settle = or_(_jobs.cancel_requested, _jobs.settle_due)
_unheld = _jobs.holder.is_(None)


class Watching:
    """Bounded reads of live jobs, oldest first. Every method raises errors.LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held(self, limit: int) -> list[rows.Job]:
        """Jobs that a worker says it follows."""
        return self._select(limit, LIVE, _jobs.holder.is_not(None))

    def waiting(self, limit: int) -> list[rows.Job]:
        """Jobs that wait for a worker, whose message should be with the broker."""
        return self._select(limit, LIVE, _unheld, not_(_must_settle))

    def to_settle(self, limit: int) -> list[rows.Job]:
        """Jobs that nobody follows and that only have to be settled and ended."""
        return self._select(limit, LIVE, _unheld, _must_settle)

    def dead_letters_due(self, limit: int) -> list[rows.Job]:
        """Failed jobs whose dead letter has not been confirmed yet."""
        return self._select(limit, _jobs.status == "failed", _jobs.dead_letter == "due")

    def dead_letter_sent(self, job_id: str) -> bool:
        """The broker keeps the job's dead letter. False when that was known already."""
        statement = update(tables.jobs).where(_jobs.job_id == job_id, _jobs.dead_letter == "due")
        with self._database.writing() as connection:
            return connection.execute(statement.values(dead_letter="sent")).rowcount == 1

    def _select(self, limit: int, *conditions: ColumnElement[bool]) -> list[rows.Job]:
        statement = select(tables.jobs).where(*conditions).order_by(_jobs.number).limit(limit)
        with self._database.reading() as connection:
            return [rows.job(row) for row in connection.execute(statement)]
