"""Accept a job: row first, then the message, and the answer only once the broker keeps it.

Between POST /train and the jobs queue. Whatever dies in between, the ledger's row decides: an
unconfirmed one is published again by a worker's reaper, a withdrawn one is dropped.
"""

from __future__ import annotations

from functools import lru_cache, partial

import anyio.to_thread
import celery

from api.jobs.celery_app import job_message, make_app
from api.keys import making
from api.keys.callers import Caller
from api.ledger import rows
from api.state import State
from wire import errors, logs, settings, topology


@lru_cache(maxsize=1)
def _message_app() -> celery.Celery:
    """Celery only forms messages here; it never connects, so it gets no address and no password."""
    return make_app(settings.Broker())


async def repeated(state: State, owner: str, key: str | None, body_digest: str) -> rows.NewJob | None:
    """What the same request has made before, to accept it again as it is; None where there is nothing yet.

    Its data or its model may be gone by now, which is no matter to a job that is there. Raises errors.BadInput
    as ``Jobs.accept`` does.
    """
    if key is None:
        return None
    job = await anyio.to_thread.run_sync(state.ledger.jobs.by_key, owner, key, body_digest)
    if job is None:
        return None
    return rows.NewJob(**{name: getattr(job, name) for name in rows.NewJob.__struct_fields__})


async def accept(state: State, new: rows.NewJob, caller: Caller) -> rows.Job:
    """Store and publish a job; the job of this key if there is one already.

    Raises what ``Jobs.accept`` raises, and NotAnswered kinds when the broker does not keep the
    message: the job is withdrawn then, and the same key may try again. Where another request of
    the key is at it as well, neither withdraws: the job stays, and a reaper publishes it.
    """
    told = partial(making.accepted, caller)
    insert = partial(state.ledger.jobs.accept, new, queued_limit=state.settings.limits.queued_jobs, told=told)
    job = await anyio.to_thread.run_sync(insert)
    if job.accepted:
        return job
    message = job_message(_message_app(), job.job_id, job.request_id)
    try:
        await state.rpc.publish(topology.JOBS, message.body, properties=message.properties)
    except errors.NotAnswered as error:
        deed = making.deed(caller, "job.withdrawn", f"{job.job_id} {job.model}")
        left = await anyio.to_thread.run_sync(state.ledger.jobs.withdraw, job, deed)
        if left.accepted:
            return left
        if left.status == "withdrawn":
            logs.log("job.withdrawn", level="WARNING", job_id=job.job_id, error=error.code)
        raise
    try:
        await anyio.to_thread.run_sync(state.ledger.jobs.confirm, job.job_id)
    except errors.LedgerUnavailable:
        # The broker keeps the message, so the job is accepted; the mark only spares the reaper work.
        logs.log("ledger.failed", level="WARNING", job_id=job.job_id)
    logs.log("job.accepted", job_id=job.job_id, model=job.model)
    return job
