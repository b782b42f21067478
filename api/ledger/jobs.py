"""Jobs as a caller of the HTTP API sees them: accept, withdraw, look up, cancel.

Between ``api.routes`` and the database. What a caller changes is in one transaction with its entry in the
audit log, where one is given. What a worker does to a job is in ``leases``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from api.ledger import audit, changes, paging, rows, tables
from api.ledger.database import Database, now_ms
from wire import errors

_jobs = tables.jobs.c
_CHUNK = 500
Told = Callable[[rows.Job], rows.Deed]
"""What the audit log is told of a job."""
LIVE = _jobs.status.in_(rows.LIVE)
"""The condition: the job has not ended."""


class Jobs:
    """The ``jobs`` table from the API's side. Every method raises errors.LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, new: rows.NewJob, *, queued_limit: int, told: Told | None = None) -> rows.Job:
        """Insert the job, or find the one this owner's key already made.

        A withdrawn job of the same key and body is live again. The caller publishes unless the
        job is ``accepted`` already. ``told`` is asked for an entry where the job is new or live again.
        Raises errors.BadInput (the key was used with another body),
        DatasetNotFound, and Overloaded when ``queued_limit`` jobs are waiting.
        """
        with self._database.writing() as connection:
            found = self._by_key(connection, new)
            if found is None or found.status == "withdrawn":
                _check_room(connection, queued_limit)
                _use_dataset(connection, new.dataset_id)
            if found is None:
                made = self._insert(connection, new)
                if made is not None:
                    audit.write(connection, [told(made)] if told else [])
                    return made
                found = self._by_key(connection, new)  # another replica inserted it between our look and our insert
                if found is None:
                    raise errors.LedgerUnavailable
            if found.status == "withdrawn" and told:
                audit.write(connection, [told(found)])
            return _join(connection, found)

    def _insert(self, connection: Connection, new: rows.NewJob) -> rows.Job | None:
        values: dict[str, Any] = {name: getattr(new, name) for name in new.__struct_fields__}
        values |= {"status": "queued", "created_ms": now_ms(), "dead_letter": "", "events": 1, "enqueues": 1}
        values |= dict.fromkeys(("cancel_requested", "settle_due", "confirmed"), False)
        values |= dict.fromkeys(("attempts", "epoch", "beat", "fraction"), 0)
        values |= {"stage": "queued", "message": ""}
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        made = connection.execute(
            insert(tables.jobs).values(values).on_conflict_do_nothing().returning(*tables.jobs.c)
        ).one_or_none()
        if made is None:
            return None
        job = rows.job(made)
        changes.write_event(connection, job, "queued")
        return job

    def by_key(self, owner: str, key: str, body_digest: str) -> rows.Job | None:
        """The job that this owner's key has made, unless it is withdrawn. Raises errors.BadInput as ``accept``."""
        with self._database.reading() as connection:
            row = connection.execute(_of_key(owner, key)).one_or_none()
        found = None if row is None else _same_body(rows.job(row), body_digest)
        return None if found is None or found.status == "withdrawn" else found

    def _by_key(self, connection: Connection, new: rows.NewJob) -> rows.Job | None:
        if new.idempotency_key is None:
            return None
        # The row stays as it is until the commit: nobody withdraws it between our look and our change.
        locked = _of_key(new.owner, new.idempotency_key).with_for_update()
        row = connection.execute(locked).one_or_none()
        return None if row is None else _same_body(rows.job(row), new.body_digest)

    def confirm(self, job_id: str) -> bool:
        """The broker keeps a message of this job. False when the job has ended meanwhile.

        A withdrawn job is live again, but unconfirmed: a worker may have dropped the message by then,
        so a reaper publishes another. (Replicas of this version withdraw no job that others publish;
        older ones beside them do.)
        """
        live_again = case((_jobs.status == "withdrawn", "queued"), else_=_jobs.status)
        statement = (
            update(tables.jobs)
            .where(_jobs.job_id == job_id, _jobs.status.in_((*rows.LIVE, "withdrawn")))
            .values(confirmed=_jobs.status != "withdrawn", status=live_again)
        )
        with self._database.writing() as connection:
            return connection.execute(statement).rowcount == 1

    def withdraw(self, job: rows.Job, deed: rows.Deed | None = None) -> rows.Job:
        """Nobody keeps a message of this job: take it back, so that a late copy is dropped. The job as it is now.

        ``job`` is what ``accept`` gave. It is taken back only by the request that made it live, and only if no
        other has joined or published it since: any of those may know a message to be kept.
        """
        same = _jobs.job_id == job.job_id
        never_seen = (_jobs.status == "queued", _jobs.confirmed.is_(False), _jobs.epoch == 0)
        with self._database.writing() as connection:
            mine = _jobs.enqueues == job.enqueues
            withdrawn = changes.change(connection, same, *never_seen, mine, status="withdrawn")
            audit.write(connection, [deed] if withdrawn and deed else [])
            return withdrawn or rows.job(connection.execute(select(tables.jobs).where(same)).one())

    def find(self, job_id: str, *, owner: str | None) -> rows.Job:
        """The job. ``owner`` None sees all owners' jobs. Raises errors.JobNotFound."""
        with self._database.reading() as connection:
            return self._find(connection, job_id, owner)

    def _find(self, connection: Connection, job_id: str, owner: str | None) -> rows.Job:
        conditions = [_jobs.job_id == job_id, _jobs.status != "withdrawn", *_seen_by(owner)]
        row = connection.execute(select(tables.jobs).where(*conditions)).one_or_none()
        if row is None:
            raise errors.JobNotFound
        return rows.job(row)

    def position(self, job: rows.Job) -> int | None:
        """How many jobs wait up to and with this one; None when it does not wait any more."""
        if job.status != "queued":
            return None
        before = select(func.count()).where(_jobs.status == "queued", _jobs.number < job.number)
        with self._database.reading() as connection:
            return int(connection.execute(before).scalar_one()) + 1

    def page(
        self, *, owner: str | None, model: str | None, status: str | None, before: int | None, limit: int
    ) -> tuple[list[rows.Job], bool]:
        """At most ``limit`` jobs with a number below ``before``, newest first, and whether more follow.

        See ``paging.read``.
        """
        conditions = [_jobs.status != "withdrawn", *_seen_by(owner)]
        conditions += [] if model is None else [_jobs.model == model]
        conditions += [] if status is None else [_jobs.status == status]
        conditions += [] if before is None else [_jobs.number < before]
        statement = select(tables.jobs).where(*conditions).order_by(_jobs.number.desc())
        with self._database.reading() as connection:
            return paging.read(connection, statement, limit, rows.job, _size)

    def request_cancel(self, job_id: str, *, owner: str | None, deed: rows.Deed | None = None) -> rows.Job:
        """Cancel at once what no worker ever had; ask the worker otherwise; leave what has ended or is asked already.

        Raises errors.JobNotFound.
        """
        with self._database.writing() as connection:
            self._find(connection, job_id, owner)
            done = {"status": "cancelled", "cancel_requested": True, "ended_ms": now_ms()}
            untouched = (_jobs.status == "queued", _jobs.epoch == 0)
            same = _jobs.job_id == job_id
            ended = changes.change(connection, same, *untouched, event="cancelled", **done)
            live = (LIVE, _jobs.cancel_requested.is_(False))
            asked = changes.change(connection, same, *live, event="cancelling", cancel_requested=True)
            audit.write(connection, [deed] if deed and (ended or asked) else [])
            return self._find(connection, job_id, owner)

    def keeping(self, job_ids: Sequence[str], since_ms: int) -> set[str]:
        """Those of the jobs whose outputs are kept: they are live, or have succeeded since ``since_ms``."""
        recent = and_(_jobs.status == "succeeded", _jobs.ended_ms >= since_ms)
        kept: set[str] = set()
        with self._database.reading() as connection:
            for start in range(0, len(job_ids), _CHUNK):
                asked = _jobs.job_id.in_(job_ids[start : start + _CHUNK])
                kept |= set(connection.execute(select(_jobs.job_id).where(asked, or_(LIVE, recent))).scalars())
        return kept

    def event_counts(self, job_ids: Sequence[str]) -> dict[str, int]:
        """How many events each of the jobs has; jobs that are gone are missing."""
        statement = select(_jobs.job_id, _jobs.events).where(_jobs.job_id.in_(job_ids))
        with self._database.reading() as connection:
            return {row.job_id: row.events for row in connection.execute(statement)}

    def events(self, job_id: str, *, after: int, limit: int) -> list[rows.JobEvent]:
        """At most ``limit`` events with a number above ``after``, oldest first."""
        columns = tables.job_events.c
        statement = (
            select(tables.job_events)
            .where(columns.job_id == job_id, columns.sequence > after)
            .order_by(columns.sequence)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [rows.event(row) for row in connection.execute(statement)]


def _join(connection: Connection, found: rows.Job) -> rows.Job:
    """Make a withdrawn job live again, or join the requests that publish it; what is accepted stays as it is."""
    same = _jobs.job_id == found.job_id
    if found.status == "withdrawn":
        changes.change(connection, same, status="queued", enqueues=_jobs.enqueues + 1)
        return msgspec.structs.replace(found, status="queued", enqueues=found.enqueues + 1)
    if not found.accepted:
        # The answer keeps the number from before: who has joined may not withdraw, nor may whom it joined.
        changes.change(connection, same, enqueues=_jobs.enqueues + 1)
    return found


def _of_key(owner: str, key: str) -> Select[Any]:
    return select(tables.jobs).where(_jobs.owner == owner, _jobs.idempotency_key == key)


def _same_body(found: rows.Job, body_digest: str) -> rows.Job:
    if found.body_digest != body_digest:
        raise errors.BadInput(
            "This Idempotency-Key was used with another body.",
            errors=[errors.FieldError("Idempotency-Key", "belongs to another request; use a new key")],
        )
    return found


def _seen_by(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [_jobs.owner == owner]


def _check_room(connection: Connection, limit: int) -> None:
    waiting = connection.execute(select(func.count()).where(_jobs.status == "queued")).scalar_one()
    if waiting >= limit:
        raise errors.Overloaded("Too many jobs are waiting at the moment; try again later.")


def _use_dataset(connection: Connection, dataset_id: str | None) -> None:
    if dataset_id is None:
        return
    columns = tables.datasets.c
    # The row stays locked until the commit: a deletion waits for it and then sees the job.
    touch = update(tables.datasets).where(columns.dataset_id == dataset_id).values(used_ms=now_ms())
    if connection.execute(touch).rowcount == 0:
        raise errors.DatasetNotFound


def _size(job: rows.Job) -> int:
    return len(job.request) + len(job.result or "")
