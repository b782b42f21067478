"""One atomic change of a job: a conditional UPDATE and the event that tells of it.

Every state change of the ledger passes here. The condition is in the UPDATE itself, so of two
processes that want to end a job exactly one does; the event takes its number from the updated
row, in the same transaction, so events have no gaps and no two have one number.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, insert, update

from api.ledger import rows, tables
from api.ledger.database import now_ms


def describe(job: rows.Job) -> dict[str, Any]:
    """What an event says about the job at that moment; JSON values only."""
    said: dict[str, Any] = {
        "job_id": job.job_id,
        "status": job.status,
        "attempts": job.attempts,
        "progress": {"fraction": job.fraction, "stage": job.stage, "message": job.message},
    }
    if job.result is not None:
        said["result"] = msgspec.json.decode(job.result)
    if job.error_code is not None:
        said["error"] = {"code": job.error_code, "message": job.error_message}
    return said


def change(
    connection: Connection, *conditions: ColumnElement[bool], event: str | None = None, **values: Any
) -> rows.Job | None:
    """Set ``values`` where all conditions hold; the changed job, or None where they do not.

    ``event`` names the event to write. The conditions must select one job at most.
    """
    if event is not None:
        values["events"] = tables.jobs.c.events + 1
    changed = connection.execute(
        update(tables.jobs).where(*conditions).values(**values).returning(*tables.jobs.c)
    ).one_or_none()
    if changed is None:
        return None
    job = rows.job(changed)
    if event is not None:
        write_event(connection, job, event)
    return job


def write_event(connection: Connection, job: rows.Job, name: str) -> None:
    """Write the event that ``job.events`` counts last."""
    at_ms = now_ms()
    data = msgspec.json.encode(describe(job) | {"at": at_ms}).decode()
    row = {"job_id": job.job_id, "sequence": job.events, "at_ms": at_ms, "name": name, "data": data}
    connection.execute(insert(tables.job_events).values(row))
