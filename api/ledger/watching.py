"""What the worker's maintenance looks at: held leases, waiting jobs, and jobs to be settled."""

from __future__ import annotations

from collections.abc import Callable

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

    def send_dead_letter(self, send: Callable[[rows.Job], None]) -> bool:
        """Call ``send`` for one failed job whose dead letter is due, and note that it is out.

        False when none is due. Workers take turns, so a letter is doubled only where a process
        dies between ``send`` and the commit. Raises what ``send`` raises.
        """
        due = select(tables.jobs).where(_jobs.status == "failed", _jobs.dead_letter == "due")
        with self._database.serialised("dead letters") as connection:
            row = connection.execute(due.order_by(_jobs.number).limit(1)).one_or_none()
            if row is None:
                return False
            send(rows.job(row))
            sent = update(tables.jobs).where(_jobs.number == row.number).values(dead_letter="sent")
            connection.execute(sent)
            return True

    def _select(self, limit: int, *conditions: ColumnElement[bool]) -> list[rows.Job]:
        statement = select(tables.jobs).where(*conditions).order_by(_jobs.number).limit(limit)
        with self._database.reading() as connection:
            return [rows.job(row) for row in connection.execute(statement)]
