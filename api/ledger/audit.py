"""The audit log in the ledger: one row per change somebody made, with who, what and when.

Between ``api.keys.trail`` and the database. Rows are inserted, read by admins, and forgotten
when they are old.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from api.ledger import rows, tables
from api.ledger.database import Database

_audit = tables.audit.c


class Audit:
    """The ``audit`` table. Every method raises errors.LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, deeds: Sequence[rows.Deed]) -> None:
        """Store them, all or none."""
        with self._database.writing() as connection:
            write(connection, deeds)

    def page(self, *, before: int | None, limit: int) -> list[rows.Deed]:
        """At most ``limit`` entries with a number below ``before``, newest first."""
        conditions = [] if before is None else [_audit.number < before]
        statement = select(tables.audit).where(*conditions).order_by(_audit.number.desc()).limit(limit)
        with self._database.reading() as connection:
            return [rows.deed(row) for row in connection.execute(statement)]

    def forget(self, *, before_ms: int, limit: int) -> int:
        """Delete at most ``limit`` entries older than ``before_ms``; how many."""
        old = select(_audit.number).where(_audit.at_ms < before_ms).order_by(_audit.number).limit(limit)
        with self._database.writing() as connection:
            return connection.execute(delete(tables.audit).where(_audit.number.in_(old))).rowcount


def write(connection: Connection, deeds: Sequence[rows.Deed]) -> None:
    """Store them in a transaction of the caller's."""
    if deeds:
        connection.execute(insert(tables.audit), [_values(deed) for deed in deeds])


def _values(deed: rows.Deed) -> dict[str, object]:
    return {name: getattr(deed, name) for name in deed.__struct_fields__ if name != "number"}
