"""POST /batch-predictions and GET /jobs/{id}/output: predict a whole dataset, and fetch the result.

Between a client and the job's life on one side, and the folder of outputs on the other. The version is
resolved before the job is accepted, so the whole output is of one version.
"""

from __future__ import annotations

import os
import re
import uuid
from functools import partial
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import FileResponse, MalformedRangeHeader, RangeNotSatisfiable, Response

from api import bodies, openapi, refusals
from api.jobs import accepting, views
from api.keys.callers import Caller
from api.ledger import rows
from api.ledger.database import now_ms
from api.offline import order as orders
from api.offline.folder import CSV, PARQUET, OutputFolder
from api.routes import models
from api.routes.train import KEY_HEADER, idempotency_key
from api.state import CallerDep, State, StateDep
from api.times import iso
from wire import errors, logs, messages

router = APIRouter(tags=["jobs"])
"""The calls about offline predictions."""

CSV_TYPE, PARQUET_TYPE = "text/csv; charset=utf-8", "application/vnd.apache.parquet"
"""The content types of an output."""

_ID = re.compile(r"[0-9a-f]{32}")
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_PROBLEMS: openapi.Problems = (
    errors.DatasetNotFound,
    *openapi.OF_VERSIONS,
    errors.AliasNotFound,
    errors.ModelCorrupt,
    *openapi.OF_LEDGER,
)

_RANGE = {
    "name": "Range",
    "in": "header",
    "required": False,
    "description": "Parts of the file, such as `bytes=0-999`; what is no range of bytes is ignored.",
    "schema": {"type": "string"},
}
_CONTENT_RANGE = {"Content-Range": {"description": "Where the part is, and the size.", "schema": {"type": "string"}}}

Format = Literal["csv", "parquet"]
"""How an output is sent."""


@router.post(
    "/batch-predictions",
    summary="Predict a dataset",
    **openapi.operation(
        body=orders.BatchBody,
        answer=views.Accepted,
        status=202,
        problems=_PROBLEMS,
        headers={"Location": "Where the job is."},
        example=orders.EXAMPLE,
        parameters=[KEY_HEADER, openapi.TIMEOUT],
    ),
)
async def predict_dataset(request: Request, state: StateDep, caller: CallerDep) -> Response:
    """202 once the broker keeps the job's message; the output is at the job's link `output` when it has succeeded."""
    key = idempotency_key(request)
    limit_bytes = state.settings.limits.other_body_bytes
    async with bodies.read_json(request, orders.BatchBody, limit_bytes=limit_bytes) as body:
        known = await accepting.repeated(state, caller.owner, key, orders.digest(body))
        job = await accepting.accept(state, known or await _new_job(request, state, caller, body, key), caller)
    links = views.links(job.job_id, job.kind)
    return bodies.answer(views.Accepted(job.job_id, views.shown(job), links), 202, {"location": links.itself})


async def _new_job(
    request: Request, state: State, caller: Caller, body: orders.BatchBody, key: str | None
) -> rows.NewJob:
    order = await _order(request, state, caller, body)
    return rows.NewJob(
        job_id=uuid.uuid4().hex,
        owner=caller.owner,
        model=body.model,
        dataset_id=body.dataset.id,
        request=order.encode(),
        request_id=logs.request_id_var.get(),
        body_digest=orders.digest(body),
        idempotency_key=key,
        kind=orders.KIND,
    )


async def _order(request: Request, state: State, caller: Caller, body: orders.BatchBody) -> orders.Order:
    """The order, checked against the version and the dataset. Raises what the reads raise, and errors.BadInput."""
    find = partial(state.ledger.datasets.find, body.dataset.id, owner=caller.sees)
    dataset = await anyio.to_thread.run_sync(find)
    number = body.version
    if not isinstance(number, int):
        detail = await models.read(state, messages.GetModel(model=body.model), messages.ModelDetail, request)
        number = orders.version_of(body, detail)
    asked = messages.GetVersion(model=body.model, version=number)
    order = orders.order_of(
        body, await models.read(state, asked, messages.VersionDetail, request), submitted_at=iso(now_ms())
    )
    orders.check_dataset(order, dataset)
    return order


def _output_operation() -> dict[str, Any]:
    declared = openapi.operation(
        answer_media="text/csv",
        problems=(
            errors.BadInput,
            errors.JobNotFound,
            errors.NotFound,
            errors.Conflict,
            refusals.RangeNotSatisfiable,
            *openapi.OF_LEDGER,
        ),
        headers={"Content-Disposition": "A name for the file.", "ETag": "Changes with the content."},
        parameters=[_RANGE],
    )
    answers = declared["responses"]
    whole = answers[200] | {"content": {"text/csv": _BYTES, PARQUET_TYPE: _BYTES}}
    part = whole | {
        "description": "Partial Content",
        "headers": {**whole["headers"], **_CONTENT_RANGE},
        "content": {**whole["content"], "multipart/byteranges": _BYTES},
    }
    refused = answers[416] | {"headers": {**answers[416]["headers"], **_CONTENT_RANGE}}
    return {**declared, "responses": dict(sorted({**answers, 200: whole, 206: part, 416: refused}.items()))}


class _Output(FileResponse):
    """A file, whole or in parts; Starlette refuses parts in plain text."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """The parts; none means the whole, as HTTP wants it for units that nobody knows (RFC 9110, 14.2)."""
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []
        except RangeNotSatisfiable:
            raise refusals.RangeNotSatisfiable(file_size) from None


@router.get("/jobs/{job_id}/output", summary="Fetch the output of a job", **_output_operation())
async def get_output(
    job_id: str,
    request: Request,
    state: StateDep,
    caller: CallerDep,
    format: Annotated[Format | None, Query(description="Instead of the header Accept; CSV where neither says.")] = None,
) -> Response:
    """The file as CSV or Parquet, also in ranges. 409 until the job has succeeded, 404 where it never will, 416 for
    a range that is not there.
    """
    name, media = (PARQUET, PARQUET_TYPE) if _wants_parquet(request, format) else (CSV, CSV_TYPE)
    if _ID.fullmatch(job_id) is None:
        raise errors.JobNotFound
    job = await anyio.to_thread.run_sync(partial(state.ledger.jobs.find, job_id, owner=caller.sees))
    _check(job)
    path = OutputFolder(state.settings.paths.predictions).file(job_id, name)
    try:
        status: os.stat_result = await anyio.to_thread.run_sync(path.stat)
    except FileNotFoundError:
        raise errors.NotFound(
            "The output is no longer kept.",
            hint=f"Outputs are kept for {state.settings.retention.outputs_days:g} days.",
        ) from None
    filename = f"{job.model}-{job_id[:8]}.{name.rpartition('.')[2]}"
    return _Output(path, media_type=media, filename=filename, stat_result=status)


def _wants_parquet(request: Request, asked: Format | None) -> bool:
    if asked is not None:
        return asked == "parquet"
    accepted = (part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(","))
    return PARQUET_TYPE in accepted


def _check(job: rows.Job) -> None:
    """Whether the job has an output. Raises errors.NotFound and errors.Conflict."""
    if job.kind != orders.KIND:
        raise errors.NotFound("A training has no output; its version is under /models.")
    if job.status in ("failed", "cancelled"):
        raise errors.NotFound(f"The job has {job.status} and has no output.")
    if not job.ended:
        raise errors.Conflict(
            "The job has no output yet; wait until it has succeeded.", hint="GET /jobs/{job_id} tells."
        )
