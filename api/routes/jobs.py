"""GET /jobs, GET /jobs/{id}, its events, and its cancelling.

Between a client and the ledger, which knows every job, so every replica gives the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api import bodies, openapi
from api.jobs import streams, views
from api.keys.callers import Caller
from api.keys.making import deed
from api.ledger.rows import Job
from api.state import CallerDep, State, StateDep
from wire import errors, logs

router = APIRouter(prefix="/jobs", tags=["jobs"])
"""The calls about jobs."""

_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_ONE: openapi.Problems = (errors.JobNotFound, *openapi.OF_LEDGER)

Limit = Annotated[
    int, Query(ge=1, le=200, description="How many at most; a page may end sooner, with a `next_cursor`.")
]
"""The size of a page."""
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before.")]
"""Where a page begins."""
LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The number of the last event that was received; the stream goes on behind it.",
    "schema": {"type": "integer", "minimum": 0},
}
"""The header by which a stream goes on where another ended."""


@router.get(
    "", summary="List jobs", **openapi.operation(answer=views.JobPage, problems=(errors.BadInput, *openapi.OF_LEDGER))
)
async def list_jobs(
    state: StateDep,
    caller: CallerDep,
    model: Annotated[str | None, Query(max_length=64)] = None,
    status: views.Shown | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Newest first, a page at a time; a page of jobs with large requests ends before `limit`."""
    before = None if cursor is None else _number(cursor, "cursor")
    read = partial(state.ledger.jobs.page, owner=caller.sees, model=model, status=status, before=before, limit=limit)
    return bodies.answer(await anyio.to_thread.run_sync(_page, read))


def _page(read: Callable[[], tuple[list[Job], bool]]) -> views.JobPage:
    found, more = read()
    return views.JobPage(tuple(map(views.view, found)), str(found[-1].number) if more else None)


@router.get("/{job_id}", summary="Show a job", **openapi.operation(answer=views.JobView, problems=_ONE))
async def get_job(job_id: str, state: StateDep, caller: CallerDep) -> Response:
    """Its state, progress, and result or error."""
    return bodies.answer(await anyio.to_thread.run_sync(_view, state, _checked(job_id), caller.sees))


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    **openapi.operation(answer=views.JobView, status=202, also={200: views.JobView}, problems=_ONE),
)
async def cancel_job(job_id: str, state: StateDep, caller: CallerDep) -> Response:
    """200 when the job has ended, now or before; 202 when a worker will end it."""
    told = deed(caller, "job.cancelled", _checked(job_id))
    cancel = partial(state.ledger.jobs.request_cancel, job_id, owner=caller.sees, deed=told)
    job = await anyio.to_thread.run_sync(cancel)
    logs.log("job.cancel_requested", job_id=job_id, status=job.status)
    return bodies.answer(views.view(job), 200 if job.ended else 202)


@router.get(
    "/{job_id}/events",
    summary="Watch a job",
    **openapi.operation(
        problems=(*_ONE, errors.Overloaded, errors.BadInput), answer_media="text/event-stream", parameters=[LAST_EVENT]
    ),
)
async def watch_job(job_id: str, request: Request, state: StateDep, caller: CallerDep) -> Response:
    """Server-Sent Events from the first one, or behind Last-Event-ID, up to the job's end."""
    after = _number(request.headers.get("last-event-id") or "0", "Last-Event-ID")
    job = await anyio.to_thread.run_sync(partial(state.ledger.jobs.find, _checked(job_id), owner=caller.sees))
    if job.ended and after >= job.events:
        return Response(status_code=204)  # tells an EventSource not to come back
    return EventStream(_streams(request, state), job_id, after, caller)


class EventStream(StreamingResponse):
    """A stream that gives its place back however it ends."""

    def __init__(self, owner: streams.EventStreams, job_id: str, after: int, caller: Caller) -> None:
        """Takes a place. Raises errors.Overloaded."""
        self._owner = owner
        self._watcher = owner.open(job_id, after, caller)
        # Nginx passes each event on at once where it reads this header.
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(owner.frames(self._watcher), media_type="text/event-stream", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream (ASGI)."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._owner.close(self._watcher)


def _streams(request: Request, state: State) -> streams.EventStreams:
    kept = request.app.state
    if not hasattr(kept, "event_streams"):
        kept.event_streams = streams.EventStreams(
            state.ledger.jobs, state.settings.limits.event_streams, state.stopping, state.keyring.lives
        )
    found: streams.EventStreams = kept.event_streams
    return found


def _view(state: State, job_id: str, owner: str | None) -> views.JobView:
    job: Job = state.ledger.jobs.find(job_id, owner=owner)
    return views.view(job, state.ledger.jobs.position(job))


def _checked(job_id: str) -> str:
    if _ID.fullmatch(job_id) is None:
        raise errors.JobNotFound
    return job_id


def _number(text: str, at: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise errors.BadInput(f"The {at} is not valid.", errors=[errors.FieldError(at, "must be a whole number")])
    return int(text)
