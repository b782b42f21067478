"""Datasets in the ledger: who has which content, and that file and row appear and go together.

Between ``api.datasets`` (files) and the database. A file is put in place and taken away inside a
transaction that no other of the same dataset overlaps, so a deletion and an upload of the same
bytes at the same moment leave either both file and row, or neither. What a caller changes is in one
transaction with its entry in the audit log, where one is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Update,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    update,
)

from api.ledger import audit, paging, rows, tables
from api.ledger.database import Database
from api.ledger.jobs import LIVE
from wire import errors, messages

_datasets = tables.datasets.c
_owners = tables.dataset_owners.c
_CHUNK = 500
Cursor = tuple[int, str]
"""Where a page ended: (created_ms, dataset_id)."""


class Datasets:
    """The ``datasets`` table. Every method raises errors.LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def place(
        self, new: rows.Dataset, *, owner: str, put: Callable[[], None], deed: rows.Deed | None = None
    ) -> rows.Dataset:
        """Store the row and put the file in place with ``put``, together.

        Returns the row as stored, with the time at which this owner first stored it. Where the content was there
        already, what was once found wrong with it is forgotten, so that it is looked at again.
        Raises errors.Conflict where the same bytes are stored as another kind, and what ``put`` raises.
        """
        with self._database.serialised(f"dataset {new.dataset_id}") as connection:
            found = _find(connection, new.dataset_id, owner=None)
            if found is not None and found.kind != new.kind:
                raise errors.Conflict(f"The same bytes are already stored as {found.kind}.")
            put()
            if found is None:
                stored = new
                row = {name: getattr(new, name) for name in new.__struct_fields__}
                connection.execute(insert(tables.datasets).values(row))
            else:
                stored = msgspec.structs.replace(found, error_code=None, error_message=None)
                again = {"used_ms": new.used_ms, "error_code": None, "error_message": None}
                connection.execute(_where(new.dataset_id).values(again))
            created_ms = _own(connection, new, owner)
            audit.write(connection, [deed] if deed else [])
            return msgspec.structs.replace(stored, created_ms=created_ms)

    def find(self, dataset_id: str, *, owner: str | None) -> rows.Dataset:
        """The dataset, with the owner's own time. ``owner`` None sees all. Raises errors.DatasetNotFound."""
        with self._database.reading() as connection:
            found = _find(connection, dataset_id, owner=owner)
        if found is None:
            raise errors.DatasetNotFound
        return found

    def page(self, *, owner: str | None, before: Cursor | None, limit: int) -> tuple[list[rows.Dataset], bool]:
        """At most ``limit`` datasets behind the cursor, and whether more follow; see ``paging.read``.

        Newest first by the owner's own time.
        """
        at_ms = _created_ms(owner)
        statement = _seen_by(owner).order_by(at_ms.desc(), _datasets.dataset_id.desc())
        if before is not None:
            statement = statement.where(tuple_(at_ms, _datasets.dataset_id) < tuple_(*before))
        with self._database.reading() as connection:
            return paging.read(connection, statement, limit, rows.dataset, lambda one: len(one.profile or ""))

    def describe(self, dataset_id: str, profile: messages.DatasetProfile) -> None:
        """Store what a trainer found in it."""
        with self._database.writing() as connection:
            encoded = profile.encode().decode()
            connection.execute(_where(dataset_id).values(profile=encoded, error_code=None, error_message=None))

    def condemn(self, dataset_id: str, error: errors.ErrorBody) -> None:
        """Store why it cannot be read."""
        with self._database.writing() as connection:
            connection.execute(_where(dataset_id).values(error_code=error.code, error_message=error.message))

    def unprofiled(self, limit: int) -> list[rows.Dataset]:
        """Datasets nobody has inspected yet, oldest first."""
        unknown = (_datasets.profile.is_(None), _datasets.error_code.is_(None))
        statement = select(tables.datasets).where(*unknown).order_by(_datasets.created_ms).limit(limit)
        with self._database.reading() as connection:
            return [rows.dataset(row) for row in connection.execute(statement)]

    def unknown(self, dataset_ids: Sequence[str]) -> list[str]:
        """Those of the ids that no row has."""
        known: set[str] = set()
        with self._database.reading() as connection:
            for start in range(0, len(dataset_ids), _CHUNK):
                asked = _datasets.dataset_id.in_(dataset_ids[start : start + _CHUNK])
                known |= set(connection.execute(select(_datasets.dataset_id).where(asked)).scalars())
        return [dataset_id for dataset_id in dataset_ids if dataset_id not in known]

    def delete(self, dataset_id: str, *, owner: str | None, deed: rows.Deed | None = None) -> bool:
        """Forget it for this owner (None: for all); True when nobody has it any more.

        The caller then removes the file with ``discard``. Raises errors.DatasetNotFound, and
        errors.DatasetInUse while a job that has not ended uses it: one of this owner's, where others have it too.
        """
        with self._database.serialised(f"dataset {dataset_id}") as connection:
            if _find(connection, dataset_id, owner=owner) is None:
                raise errors.DatasetNotFound
            _lock(connection, dataset_id)
            if _in_use(connection, dataset_id, owner if _is_shared(connection, dataset_id, owner) else None):
                raise errors.DatasetInUse
            mine = and_(_owners.dataset_id == dataset_id, *([] if owner is None else [_owners.owner == owner]))
            connection.execute(delete(tables.dataset_owners).where(mine))
            audit.write(connection, [deed] if deed else [])
            orphan = and_(_datasets.dataset_id == dataset_id, ~_has_owner())
            return connection.execute(delete(tables.datasets).where(orphan)).rowcount == 1

    def discard(self, dataset_id: str, remove: Callable[[], None]) -> bool:
        """Call ``remove`` if no row names the dataset; False if one does."""
        with self._database.serialised(f"dataset {dataset_id}") as connection:
            if _find(connection, dataset_id, owner=None) is not None:
                return False
            remove()
            return True

    def delete_unused(self, before_ms: int, limit: int) -> list[str]:
        """Forget datasets unused since ``before_ms`` and not used by a live job; their ids."""
        old = select(_datasets.dataset_id).where(_datasets.used_ms < before_ms).order_by(_datasets.used_ms)
        with self._database.reading() as connection:
            candidates = list(connection.execute(old.limit(limit)).scalars())
        return [dataset_id for dataset_id in candidates if self._delete_unused(dataset_id, before_ms)]

    def _delete_unused(self, dataset_id: str, before_ms: int) -> bool:
        with self._database.serialised(f"dataset {dataset_id}") as connection:
            _lock(connection, dataset_id)
            if _in_use(connection, dataset_id, owner=None):
                return False
            still_old = and_(_datasets.dataset_id == dataset_id, _datasets.used_ms < before_ms)
            return connection.execute(delete(tables.datasets).where(still_old)).rowcount == 1


def _where(dataset_id: str) -> Update:
    return update(tables.datasets).where(_datasets.dataset_id == dataset_id)


def _find(connection: Connection, dataset_id: str, *, owner: str | None) -> rows.Dataset | None:
    row = connection.execute(_seen_by(owner).where(_datasets.dataset_id == dataset_id)).one_or_none()
    return None if row is None else rows.dataset(row)


def _has_owner() -> ColumnElement[bool]:
    return exists().where(_owners.dataset_id == _datasets.dataset_id)


def _created_ms(owner: str | None) -> ColumnElement[int]:
    """When this owner stored it (None: when anybody first did); what others did is none of an owner's business."""
    return _datasets.created_ms if owner is None else _owners.created_ms


def _seen_by(owner: str | None) -> Select[Any]:
    if owner is None:
        return select(tables.datasets)
    columns = (_created_ms(owner) if column is _datasets.created_ms else column for column in _datasets)
    mine = and_(_owners.dataset_id == _datasets.dataset_id, _owners.owner == owner)
    return select(*columns).join_from(tables.datasets, tables.dataset_owners, mine)


def _own(connection: Connection, new: rows.Dataset, owner: str) -> int:
    """Make it this owner's, too; since when it is."""
    mine = (_owners.dataset_id == new.dataset_id, _owners.owner == owner)
    since_ms: int | None = connection.execute(select(_owners.created_ms).where(*mine)).scalar_one_or_none()
    if since_ms is None:
        row = {"dataset_id": new.dataset_id, "owner": owner, "created_ms": new.created_ms}
        connection.execute(insert(tables.dataset_owners).values(row))
    return new.created_ms if since_ms is None else since_ms


def _is_shared(connection: Connection, dataset_id: str, owner: str | None) -> bool:
    """Whether somebody keeps it when this owner (None: all of them) lets go."""
    others = select(func.count()).where(_owners.dataset_id == dataset_id, _owners.owner != owner)
    return owner is not None and bool(connection.execute(others).scalar_one())


def _lock(connection: Connection, dataset_id: str) -> None:
    # A job being accepted has locked this row; once we have it, the next statement sees that job.
    connection.execute(select(_datasets.dataset_id).where(_datasets.dataset_id == dataset_id).with_for_update())


def _in_use(connection: Connection, dataset_id: str, owner: str | None) -> bool:
    """Whether a job that has not ended uses it: one of this owner's, or (None) of anybody's."""
    whose = [] if owner is None else [tables.jobs.c.owner == owner]
    users = select(func.count()).where(tables.jobs.c.dataset_id == dataset_id, LIVE, *whose)
    return bool(connection.execute(users).scalar_one())
