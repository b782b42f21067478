"""What POST /train takes, and whether it can be trained: everything that can be told at once.

Between the request's body and the job. No data is read here; names, parameters and scores are
checked against the catalogue, columns against the dataset's description where there is one.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec

from api import names
from wire import catalogue, errors, messages, samples

_MAX_NAME = 256
Cell = None | bool | int | float | str
"""One cell of a row in a request."""

ColumnName = Annotated[str, msgspec.Meta(min_length=1, max_length=_MAX_NAME)]
"""The name of a column."""

DatasetId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)", description="the id of an upload")]
"""What an upload was answered with."""
_MAX_ROWS = 100_000
_MAX_PARAMS = 100


class DatasetChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which data: an upload's ``id``, the name of a ``sample``, or ``rows``; exactly one."""

    id: (
        Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$", description="the id an upload was answered with")] | None
    ) = None
    sample: str | None = None
    rows: Annotated[list[dict[str, Cell]], msgspec.Meta(min_length=1, max_length=_MAX_ROWS)] | None = None


class TrainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A training: which data, which column to predict, and how."""

    model: names.Name
    dataset: DatasetChoice
    target: ColumnName
    estimator: Annotated[str, msgspec.Meta(max_length=100)] = catalogue.AUTO
    params: Annotated[dict[str, Any], msgspec.Meta(max_length=_MAX_PARAMS)] = {}
    search: messages.Search | None = None
    validation: messages.Validation = messages.Validation()
    promote: messages.Promote = "if_better"


EXAMPLE = {"model": "flowers", "dataset": {"sample": "iris"}, "target": "target", "estimator": "LogisticRegression"}
"""A body to try."""


def check(body: TrainBody) -> None:
    """Everything that needs no other service. Raises errors.BadInput with each place."""
    found = [
        *_check_dataset(body),
        *catalogue.check(body.estimator, body.params, body.search),
        *catalogue.check_validation(body.estimator, body.params, body.validation, body.search),
    ]
    if len(body.validation.order_by or "") > _MAX_NAME:
        found.append(errors.FieldError("validation.order_by", f"must be a name of at most {_MAX_NAME} characters"))
    if body.validation.order_by == body.target:
        found.append(errors.FieldError("validation.order_by", "must be another column than the target"))
    refuse(found)


def check_stored(request: str) -> None:
    """The same for what ``request_of`` made, perhaps of an older release. Raises errors.BadInput."""
    stored = messages.TrainRequest.decode(request.encode())
    check(
        TrainBody(
            model=stored.model,
            dataset=DatasetChoice(id=stored.dataset.id, sample=stored.dataset.sample),
            target=stored.target,
            estimator=stored.estimator,
            params=stored.params,
            search=stored.search,
            validation=stored.validation,
            promote=stored.promote,
        )
    )


def check_columns(body: TrainBody, columns: list[str]) -> None:
    """Whether the columns that the body names are among the dataset's. Raises errors.BadInput."""
    found = []
    if body.target not in columns:
        found.append(errors.FieldError("target", "is not a column of the dataset"))
    if body.validation.order_by is not None and body.validation.order_by not in columns:
        found.append(errors.FieldError("validation.order_by", "is not a column of the dataset"))
    if not found and len(columns) < 2:
        found.append(errors.FieldError("dataset", "has no column but the target"))
    refuse(found)


def refuse(found: list[errors.FieldError]) -> None:
    """Raises errors.BadInput if anything was found."""
    if found:
        raise errors.BadInput("The training request is not valid.", errors=found)


def _check_dataset(body: TrainBody) -> list[errors.FieldError]:
    given = body.dataset
    if sum(choice is not None for choice in (given.id, given.sample, given.rows)) != 1:
        return [errors.FieldError("dataset", "must have exactly one of id, sample and rows")]
    if given.sample is not None and given.sample not in samples.SAMPLES:
        return [errors.FieldError("dataset.sample", f"is no sample; one of {', '.join(samples.SAMPLES)}")]
    if given.sample is not None and body.target != samples.TARGET:
        return [errors.FieldError("target", f'must be "{samples.TARGET}", the target column of every sample')]
    return []


def columns_of(rows: list[dict[str, Cell]]) -> list[str]:
    """The columns of rows in a request, in the order they appear."""
    return list(dict.fromkeys(name for row in rows for name in row))


def lines_of(rows: list[dict[str, Cell]]) -> bytes:
    """Rows as JSON lines, the file a trainer reads."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def digest(body: TrainBody) -> str:
    """The hash of what a body means: spaces and the order of keys do not count."""
    return hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()


def request_of(body: TrainBody, dataset: messages.DatasetRef, *, submitted_at: str, request_id: str) -> str:
    """The TrainRequest of a job, encoded for the ledger; the worker fills in job and attempt."""
    request = messages.TrainRequest(
        job_id="",
        attempt=0,
        model=body.model,
        dataset=dataset,
        target=body.target,
        estimator=body.estimator,
        params=body.params,
        search=body.search,
        validation=body.validation,
        promote=body.promote,
        submitted_at=submitted_at,
        request_id=request_id,
    )
    return request.encode().decode()
