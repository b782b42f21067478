"""POST /train: accept a training.

Between a client and the job's life: the body is checked here, its rows stored, its job made
once per Idempotency-Key, and the answer given when the broker keeps the message.
"""

from __future__ import annotations

import re
import uuid

import anyio.to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import bodies, openapi, training
from api.datasets import storing
from api.jobs import accepting, views
from api.keys.callers import Caller
from api.ledger import rows
from api.ledger.database import now_ms
from api.state import CallerDep, State, StateDep
from api.times import iso
from wire import errors, logs, messages

router = APIRouter(tags=["jobs"])
"""The call that begins a job."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PROBLEMS: openapi.Problems = (
    errors.DatasetNotFound,
    errors.Overloaded,
    errors.Unroutable,
    errors.BrokerUnavailable,
    errors.StorageFull,
    errors.Conflict,
    *openapi.OF_LEDGER,
)
KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Up to 255 visible ASCII characters; an empty one is none. The same key and body give the same job.",
    "schema": {"type": "string", "maxLength": 255},
}
"""The header that makes a job once, however often it is asked for."""


@router.post(
    "/train",
    summary="Train a model",
    **openapi.operation(
        body=training.TrainBody,
        answer=views.Accepted,
        status=202,
        problems=_PROBLEMS,
        headers={"Location": "Where the job is."},
        example=training.EXAMPLE,
        parameters=[KEY_HEADER],
    ),
)
async def train(request: Request, state: StateDep, caller: CallerDep) -> Response:
    """202 once the broker keeps the job's message: from then on the job is not lost."""
    job = await accepting.accept(state, await _wanted(request, state, caller), caller)
    links = views.links(job.job_id)
    answer = views.Accepted(job.job_id, views.shown(job), links)
    return bodies.answer(answer, 202, {"location": links.itself})


def idempotency_key(request: Request) -> str | None:
    """The caller's key, None where there is none. Raises errors.BadInput."""
    # Nginx passes no empty header on, so an empty key means the same on a replica itself.
    key = request.headers.get("idempotency-key") or None
    if key is not None and _KEY.fullmatch(key) is None:
        raise errors.BadInput(
            "The Idempotency-Key is not valid.",
            errors=[errors.FieldError("Idempotency-Key", "must be 1 to 255 visible ASCII characters")],
        )
    return key


async def _wanted(request: Request, state: State, caller: Caller) -> rows.NewJob:
    """What the body asks for; of the rows in it nothing is held when this ends."""
    key = idempotency_key(request)
    limit_bytes = state.settings.limits.train_body_bytes
    async with bodies.read_json(request, training.TrainBody, limit_bytes=limit_bytes) as body:
        training.check(body)
        digest = await _digest(body)
        known = await accepting.repeated(state, caller.owner, key, digest)
        return known or await _new_job(state, caller, body, key, digest)


async def _digest(body: training.TrainBody) -> str:
    """Rows may be megabytes, which other requests need not wait for; the rest is small."""
    if body.dataset.rows is None:
        return training.digest(body)
    return await anyio.to_thread.run_sync(training.digest, body)


async def _new_job(state: State, caller: Caller, body: training.TrainBody, key: str | None, digest: str) -> rows.NewJob:
    dataset = await _dataset(state, caller, body)
    request_id = logs.request_id_var.get()
    return rows.NewJob(
        job_id=uuid.uuid4().hex,
        owner=caller.owner,
        model=body.model,
        dataset_id=dataset.id,
        request=training.request_of(body, dataset, submitted_at=iso(now_ms()), request_id=request_id),
        request_id=request_id,
        body_digest=digest,
        idempotency_key=key,
    )


async def _dataset(state: State, caller: Caller, body: training.TrainBody) -> messages.DatasetRef:
    """The data as a trainer finds it; rows are stored first, so that only an id travels."""
    given = body.dataset
    if given.rows is not None:
        stored = await anyio.to_thread.run_sync(_store, state, caller, body, given.rows)
        return messages.DatasetRef(id=stored.dataset_id)
    if given.id is not None:
        found = await anyio.to_thread.run_sync(_find, state, caller, given.id)
        profile = found.columns()
        if found.error_code is not None:
            training.refuse([errors.FieldError("dataset.id", f"can't be read: {found.error_message}")])
        if profile is not None:
            training.check_columns(body, [column.name for column in profile.columns])
        return messages.DatasetRef(id=found.dataset_id)
    return messages.DatasetRef(sample=given.sample)


def _store(
    state: State, caller: Caller, body: training.TrainBody, given: list[dict[str, training.Cell]]
) -> rows.Dataset:
    training.check_columns(body, training.columns_of(given))
    return storing.store_rows(state, training.lines_of(given), caller)


def _find(state: State, caller: Caller, dataset_id: str) -> rows.Dataset:
    return state.ledger.datasets.find(dataset_id, owner=caller.sees)
