"""A job as the HTTP API shows it, made of its row."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from api.ledger.rows import Job
from api.offline import order
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


class Links(msgspec.Struct, frozen=True, omit_defaults=True, rename={"itself": "self"}):
    """Where to look next; ``output`` where there will be one."""

    itself: str
    events: str
    cancel: str
    output: str | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The answer to POST /train and POST /batch-predictions: the broker keeps the job."""

    job_id: str
    status: Shown
    links: Links


class JobView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job. ``queue_position`` (1: next) while it waits; ``result`` or ``error`` once it has ended.

    A training (``kind`` train) has ``target`` and ``estimator``, an offline prediction (``kind`` predict) ``version``.
    """

    job_id: str
    kind: str
    status: Shown
    model: str
    dataset: messages.DatasetRef
    progress: Progress
    attempts: int
    created_at: str
    links: Links
    target: str | None = None
    estimator: str | None = None
    version: int | None = None
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


def links(job_id: str, kind: str = "train") -> Links:
    """The links of a job."""
    itself = f"/jobs/{job_id}"
    return Links(itself, f"{itself}/events", f"{itself}/cancel", f"{itself}/output" if kind == order.KIND else None)


class _Asked(msgspec.Struct, frozen=True):
    """What is shown of a TrainRequest or an Order; the rest, which may be large, is passed over."""

    dataset: messages.DatasetRef | None = None
    dataset_id: str | None = None
    target: str | None = None
    estimator: str | None = None
    version: int | None = None


def view(job: Job, position: int | None = None) -> JobView:
    """The job of a row; ``position`` is its place among those that wait."""
    asked = msgspec.json.decode(job.request, type=_Asked)
    failed = job.status == "failed"
    return JobView(
        job_id=job.job_id,
        kind=job.kind,
        status=shown(job),
        model=job.model,
        dataset=asked.dataset or messages.DatasetRef(id=asked.dataset_id),
        target=asked.target,
        estimator=asked.estimator,
        version=asked.version,
        progress=Progress(job.fraction, job.stage, job.message),
        attempts=job.attempts,
        created_at=iso(job.created_ms),
        links=links(job.job_id, job.kind),
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
