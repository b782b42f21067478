"""What the worker's maintenance looks at: held leases, waiting jobs, jobs to be settled, and letters to send."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import ColumnElement, not_, or_, select, update

from api.ledger import rows, tables
from api.ledger.database import Database
from api.ledger.jobs import LIVE

_jobs = tables.jobs.c
_must_settle = or_(_jobs.cancel_requested, _jobs.settle_due)
_unheld = _jobs.holder.is_(None)
_SEEN = [_jobs[name] for name in rows.Watched.__struct_fields__]
_LETTERS = "dead letters"


class Watching:
    """Bounded reads of jobs, oldest first. Every method raises errors.LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held(self, limit: int) -> list[rows.Watched]:
        """Jobs that a worker says it follows."""
        return self._select(limit, LIVE, _jobs.holder.is_not(None))

    def waiting(self, limit: int) -> list[rows.Watched]:
        """Jobs that wait for a worker, whose message should be with the broker."""
        return self._select(limit, LIVE, _unheld, not_(_must_settle))

    def to_settle(self, limit: int) -> list[rows.Watched]:
        """Jobs that nobody follows and that only have to be settled and ended."""
        return self._select(limit, LIVE, _unheld, _must_settle)

    def dead_letters_due(self, limit: int) -> list[rows.Watched]:
        """Failed jobs whose dead letter is not known to be out; those with a ``holder`` were claimed already."""
        return self._select(limit, _jobs.status == "failed", _jobs.dead_letter == "due")

    def claim_dead_letter(self, job: rows.Watched) -> bool:
        """Claim the right to send it; of those who read the job as it is now only one gets it."""
        unchanged = (_jobs.number == job.number, _jobs.dead_letter == "due", _jobs.beat == job.beat)
        claimed = update(tables.jobs).where(*unchanged).values(holder=_LETTERS, beat=_jobs.beat + 1)
        with self._database.writing() as connection:
            return connection.execute(claimed).rowcount == 1

    def dead_letter_ended(self, job: rows.Watched, how: Literal["sent", "too_large"]) -> None:
        """Note that the letter is out, or that no message holds it."""
        ended = update(tables.jobs).where(_jobs.number == job.number).values(dead_letter=how, holder=None)
        with self._database.writing() as connection:
            connection.execute(ended)

    def _select(self, limit: int, *conditions: ColumnElement[bool]) -> list[rows.Watched]:
        statement = select(*_SEEN).where(*conditions).order_by(_jobs.number).limit(limit)
        with self._database.reading() as connection:
            return [rows.Watched(**row._mapping) for row in connection.execute(statement)]
