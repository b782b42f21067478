"""A job as the HTTP API shows it, made of its row."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from api.ledger.rows import Job
from api.times import iso, iso_or_none
from wire import messages

Shown = Literal["queued", "running", "succeeded", "failed", "cancelled"]
"""The states a caller sees."""


class Progress(msgspec.Struct, frozen=True):
    """How far a job is: ``fraction`` from 0 to 1, the stage's name, a sentence."""

    fraction: float
    stage: str
    message: str


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed: a stable code and a sentence."""

    code: str
    message: str


class Links(msgspec.Struct, frozen=True, rename={"itself": "self"}):
    """Where to look next."""

    itself: str
    events: str
    cancel: str


class Accepted(msgspec.Struct, frozen=True):
    """The answer to POST /train: the broker keeps the job."""

    job_id: str
    status: Shown
    links: Links


class JobView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job. ``queue_position`` (1: next) while it waits; ``result`` or ``error`` once it has ended."""

    job_id: str
    kind: str
    status: Shown
    model: str
    dataset: messages.DatasetRef
    target: str
    estimator: str
    progress: Progress
    attempts: int
    created_at: str
    links: Links
    started_at: str | None = None
    ended_at: str | None = None
    queue_position: int | None = None
    cancel_requested: bool = False
    result: dict[str, Any] | None = None
    error: JobError | None = None


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first; ``next_cursor`` leads to the page behind this one, null: there is none."""

    jobs: tuple[JobView, ...]
    next_cursor: str | None


def links(job_id: str) -> Links:
    """The links of a job."""
    return Links(f"/jobs/{job_id}", f"/jobs/{job_id}/events", f"/jobs/{job_id}/cancel")


def view(job: Job, position: int | None = None) -> JobView:
    """The job of a row; ``position`` is its place among those that wait."""
    request = messages.TrainRequest.decode(job.request.encode())
    failed = job.status == "failed"
    return JobView(
        job_id=job.job_id,
        kind=job.kind,
        status=shown(job),
        model=job.model,
        dataset=request.dataset,
        target=request.target,
        estimator=request.estimator,
        progress=Progress(job.fraction, job.stage, job.message),
        attempts=job.attempts,
        created_at=iso(job.created_ms),
        links=links(job.job_id),
        started_at=iso_or_none(job.started_ms),
        ended_at=iso_or_none(job.ended_ms),
        queue_position=position,
        cancel_requested=job.cancel_requested,
        result=None if job.result is None else msgspec.json.decode(job.result),
        error=JobError(job.error_code or "", job.error_message or "") if failed else None,
    )


def shown(job: Job) -> Shown:
    """The state a caller sees: a job that is being accepted again waits."""
    return "queued" if job.status == "withdrawn" else job.status
