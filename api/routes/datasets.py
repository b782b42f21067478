"""POST, GET and DELETE under /datasets: upload a table, see what it holds, let it go.

Between a client and the datasets folder; a trainer tells what is inside.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, cast

import anyio.to_thread
import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import bodies, openapi, refusals
from api.datasets import formats, receiving, storing
from api.jobs.views import JobError
from api.ledger import rows
from api.ledger.datasets import Cursor as Place
from api.routes.jobs import Cursor, Limit
from api.state import CallerDep, State, StateDep
from api.times import iso
from wire import errors, messages

router = APIRouter(prefix="/datasets", tags=["datasets"])
"""The dataset calls."""

_ID = re.compile(r"[0-9a-f]{32}")
_CURSOR = re.compile(r"([0-9]{1,16})-([0-9a-f]{32})")
_ONE: openapi.Problems = (errors.DatasetNotFound, *openapi.OF_LEDGER)
_BYTES = {"schema": {"type": "string", "format": "binary"}}


class DatasetView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dataset; ``rows`` and ``columns`` are null until a trainer has looked at it."""

    dataset_id: str
    format: rows.Kind
    size_bytes: int
    created_at: str
    rows: int | None
    columns: tuple[messages.ColumnProfile, ...] | None
    error: JobError | None = None


class _Stored(msgspec.Struct, frozen=True):
    """A stored DatasetProfile whose columns, of which there may be thousands, go on as they are."""

    rows: int
    columns: msgspec.Raw


class DatasetPage(msgspec.Struct, frozen=True):
    """Datasets, newest first; ``next_cursor`` leads to the page behind this one, null: there is none."""

    datasets: tuple[DatasetView, ...]
    next_cursor: str | None


def _upload_operation() -> dict[str, Any]:
    declared = openapi.operation(
        answer=DatasetView,
        status=201,
        problems=(*openapi.OF_BODIES, errors.StorageFull, errors.Conflict, *openapi.OF_LEDGER),
        headers={"Location": "Where the dataset is."},
    )
    content = dict.fromkeys(("text/csv", "application/vnd.apache.parquet", "application/octet-stream"), _BYTES)
    declared["openapi_extra"]["requestBody"] = {"required": True, "content": content}
    return declared


@router.post("", summary="Upload a dataset", **_upload_operation())
async def upload(request: Request, state: StateDep, caller: CallerDep) -> Response:
    """The body is the file itself, CSV or Parquet. The same bytes give the same id."""
    limit_bytes = state.settings.limits.dataset_bytes
    kind = formats.declared(request.headers.get("content-type", ""), request.headers.get("content-encoding", ""))
    bodies.declared_bytes(dict(request.headers.raw), limit_bytes)
    path = await anyio.to_thread.run_sync(storing.folder_of(state).draft)
    received = await receiving.receive(request.stream(), path, limit_bytes=limit_bytes)
    try:
        formats.check(kind, received.head, received.tail)
        dataset = await anyio.to_thread.run_sync(storing.place, state, received, kind, caller)
    except (errors.BadInput, refusals.UnsupportedMedia):
        await anyio.to_thread.run_sync(partial(received.draft.unlink, missing_ok=True))
        raise
    described = await storing.describe(state, dataset, caller)
    return bodies.answer(view(described), 201, {"location": f"/datasets/{described.dataset_id}"})


@router.get(
    "", summary="List datasets", **openapi.operation(answer=DatasetPage, problems=(errors.BadInput, *openapi.OF_LEDGER))
)
async def list_datasets(state: StateDep, caller: CallerDep, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Newest first, a page at a time; a page with thousands of columns ends before `limit`."""
    return bodies.answer(await anyio.to_thread.run_sync(_page, state, caller.sees, _place(cursor), limit))


def _page(state: State, owner: str | None, before: Place | None, limit: int) -> DatasetPage:
    found, more = state.ledger.datasets.page(owner=owner, before=before, limit=limit)
    next_cursor = f"{found[-1].created_ms}-{found[-1].dataset_id}" if more else None
    return DatasetPage(tuple(map(view, found)), next_cursor)


@router.get("/{dataset_id}", summary="Show a dataset", **openapi.operation(answer=DatasetView, problems=_ONE))
async def get_dataset(dataset_id: str, state: StateDep, caller: CallerDep) -> Response:
    """Its size, and its columns if a trainer has looked at them."""
    find = partial(state.ledger.datasets.find, _checked(dataset_id), owner=caller.sees)
    return bodies.answer(view(await anyio.to_thread.run_sync(find)))


@router.delete(
    "/{dataset_id}",
    summary="Delete a dataset",
    **openapi.operation(status=204, problems=(*_ONE, errors.DatasetInUse)),
)
async def delete_dataset(dataset_id: str, state: StateDep, caller: CallerDep) -> Response:
    """409 while a job that has not ended uses it."""
    delete = partial(storing.delete, state, _checked(dataset_id), caller, owner=caller.sees)
    await anyio.to_thread.run_sync(delete)
    return Response(status_code=204)


def view(dataset: rows.Dataset) -> DatasetView:
    """The dataset of a row."""
    profile = None if dataset.profile is None else msgspec.json.decode(dataset.profile, type=_Stored)
    failed = dataset.error_code is not None
    return DatasetView(
        dataset_id=dataset.dataset_id,
        format=dataset.kind,
        size_bytes=dataset.size_bytes,
        created_at=iso(dataset.created_ms),
        rows=None if profile is None else profile.rows,
        columns=None if profile is None else cast("tuple[messages.ColumnProfile, ...]", profile.columns),
        error=JobError(dataset.error_code or "", dataset.error_message or "") if failed else None,
    )


def _checked(dataset_id: str) -> str:
    if _ID.fullmatch(dataset_id) is None:
        raise errors.DatasetNotFound
    return dataset_id


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise errors.BadInput("The cursor is not valid.", errors=[errors.FieldError("cursor", "is none of ours")])
    return int(found[1]), found[2]
