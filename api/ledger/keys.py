"""API keys in the ledger: made, looked up, revoked, forgotten; never a secret, only its hash.

Between ``api.keys`` and the database. Every change is in one transaction with its entry in the
audit log.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from api.ledger import audit, rows, tables
from api.ledger.database import Database, now_ms
from wire import errors

LIVE_PER_OWNER: Final = 2
"""Live keys an owner may have: the one in use, and the one that replaces it."""
MAX_LIVE: Final = 10_000
"""Live keys in all: every replica holds them in memory."""

_keys = tables.keys.c


class Stamp(NamedTuple):
    """What changes whenever the table does."""

    number: int
    rows: int
    revoked: int


class Keys:
    """The ``keys`` table. Every method raises errors.LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: rows.Key, deed: rows.Deed) -> rows.Key:
        """Store a new key. Raises errors.Conflict when its owner has two live ones already,
        there are MAX_LIVE of them, or the prefix is taken.
        """
        with self._database.serialised("keys") as connection:
            if _count(connection, _keys.prefix == new.prefix):
                raise errors.Conflict("This prefix is taken; try again.")
            if _count(connection, _keys.owner == new.owner, _live()) >= LIVE_PER_OWNER:
                raise errors.Conflict(
                    f"This owner has {LIVE_PER_OWNER} live keys already.", hint="Revoke one of them first."
                )
            if _count(connection, _live()) >= MAX_LIVE:
                raise errors.Conflict(f"There are {MAX_LIVE} live keys already.", hint="Revoke some of them first.")
            values = {name: getattr(new, name) for name in new.__struct_fields__ if name != "number"}
            stored = connection.execute(insert(tables.keys).values(values).returning(*tables.keys.c)).one()
            audit.write(connection, [deed])
            return rows.key(stored)

    def revoke(self, prefix: str, deed: rows.Deed) -> bool:
        """End a key; False where it was revoked before. Raises errors.NotFound."""
        with self._database.serialised("keys") as connection:
            found = connection.execute(select(tables.keys).where(_keys.prefix == prefix)).one_or_none()
            if found is None:
                raise errors.NotFound("There is no key with this prefix.")
            if found.revoked_ms is not None:
                return False
            connection.execute(update(tables.keys).where(_keys.prefix == prefix).values(revoked_ms=now_ms()))
            audit.write(connection, [deed])
            return True

    def stamp(self) -> Stamp:
        """The table's stamp; the same stamp is the same table."""
        figures = select(func.max(_keys.number), func.count(), func.count(_keys.revoked_ms))
        with self._database.reading() as connection:
            number, count, revoked = connection.execute(figures).one()
        return Stamp(number or 0, count, revoked)

    def live(self) -> list[rows.Key]:
        """Every key that counts now, at most MAX_LIVE."""
        with self._database.reading() as connection:
            return [rows.key(row) for row in connection.execute(select(tables.keys).where(_live()).limit(MAX_LIVE))]

    def page(self, *, owner: str | None = None, before: int | None, limit: int) -> list[rows.Key]:
        """At most ``limit`` keys with a number below ``before``, newest first; of one owner or of all."""
        conditions = [] if before is None else [_keys.number < before]
        conditions += [] if owner is None else [_keys.owner == owner]
        statement = select(tables.keys).where(*conditions).order_by(_keys.number.desc()).limit(limit)
        with self._database.reading() as connection:
            return [rows.key(row) for row in connection.execute(statement)]

    def forget(self, *, before_ms: int, limit: int) -> int:
        """Delete at most ``limit`` keys that were revoked or expired before ``before_ms``; how many."""
        ended = or_(_keys.revoked_ms < before_ms, _keys.expires_ms < before_ms)
        old = select(_keys.number).where(ended).order_by(_keys.number).limit(limit)
        with self._database.writing() as connection:
            return connection.execute(delete(tables.keys).where(_keys.number.in_(old))).rowcount


def _live() -> ColumnElement[bool]:
    return and_(_keys.revoked_ms.is_(None), _keys.expires_ms > now_ms())


def _count(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(tables.keys).where(*conditions)).scalar_one())
