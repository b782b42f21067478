"""GET under /v1/models: status and metadata of models, as TensorFlow Serving tells them.

Between a client and the questions that ``api.protocols.served`` asks.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api import bodies, openapi
from api.protocols import references, served
from api.protocols.served import Served
from api.protocols.tf_serving.predict import SIGNATURE
from api.routes.models import read
from api.state import State, StateDep
from wire import datatypes, errors, messages

router = APIRouter(prefix="/v1/models", tags=["tensorflow serving protocol"])
"""The calls."""

DTYPES: Final = {"FP64": "DT_DOUBLE", "INT64": "DT_INT64", "BOOL": "DT_BOOL", "BYTES": "DT_STRING"}
"""TensorFlow's names of datatypes."""

_PROBLEMS = (*openapi.OF_VERSIONS, errors.AliasNotFound, errors.ModelCorrupt)


class Status(msgspec.Struct, frozen=True):
    """No error."""

    error_code: str = "OK"
    error_message: str = ""


class VersionStatus(msgspec.Struct, frozen=True):
    """A version that is there."""

    version: str
    state: str
    status: Status


class ModelStatus(msgspec.Struct, frozen=True):
    """The versions of a model, the newest first."""

    model_version_status: list[VersionStatus]


class Models(msgspec.Struct, frozen=True):
    """The names of all models (KServe)."""

    models: list[str]


class ModelSpec(msgspec.Struct, frozen=True):
    """Which version the metadata is of."""

    name: str
    signature_name: str
    version: str


class Metadata(msgspec.Struct, frozen=True):
    """A version's signature: its columns and what it answers."""

    model_spec: ModelSpec
    metadata: dict[str, Any]


def _statuses(numbers: list[int]) -> Response:
    return bodies.answer(ModelStatus([VersionStatus(str(number), "AVAILABLE", Status()) for number in numbers]))


async def _status(state: State, request: Request, model: str, given: str) -> Response:
    found = await served.detail(state, request, model)
    number = served.number_of(found, given)
    if number not in (each.version for each in found.versions):
        raise errors.VersionNotFound
    return _statuses([number])


async def _metadata(state: State, request: Request, model: str, given: str | None) -> Response:
    found = await served.version(state, request, model, given)
    signature = {
        "inputs": {each["name"]: _tensor(each["name"], datatypes.of_column(each["type"])) for each in found.columns},
        "outputs": {"predictions": _tensor("predictions", _labels(found))},
        "method_name": "tensorflow/serving/predict",
    }
    spec = ModelSpec(found.model, "", str(found.version))
    return bodies.answer(Metadata(spec, {"signature_def": {"signature_def": {SIGNATURE: signature}}}))


def _labels(found: Served) -> str:
    return datatypes.of_labels(found.classes)


def _tensor(name: str, datatype: str) -> dict[str, Any]:
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    return {"dtype": DTYPES[datatype], "tensor_shape": shape, "name": name}


@router.get("", summary="List models (KServe)", **openapi.operation(answer=Models, problems=openapi.OF_RPC))
async def list_models(state: StateDep, request: Request) -> Response:
    """The names of all models."""
    listed = await read(state, messages.ListModels(), messages.ModelList, request)
    return bodies.answer(Models([each.model for each in listed.models]))


@router.get("/{model}", summary="Model status", **openapi.operation(answer=ModelStatus, problems=openapi.OF_MODELS))
async def model_status(model: str, state: StateDep, request: Request) -> Response:
    """All versions of a model."""
    found = await served.detail(state, request, model)
    return _statuses([each.version for each in found.versions])


@router.get(
    "/{model}/versions/{version}",
    summary="Version status",
    **openapi.operation(answer=ModelStatus, problems=openapi.OF_VERSIONS),
)
async def version_status(model: str, version: str, state: StateDep, request: Request) -> Response:
    """One version."""
    return await _status(state, request, model, references.number(version))


@router.get(
    "/{model}/labels/{label}",
    summary="Label status",
    **openapi.operation(answer=ModelStatus, problems=(*openapi.OF_MODELS, errors.AliasNotFound)),
)
async def label_status(model: str, label: str, state: StateDep, request: Request) -> Response:
    """The version that an alias names; this protocol calls it a label."""
    return await _status(state, request, model, references.alias(label))


@router.get("/{model}/metadata", summary="Signature", **openapi.operation(answer=Metadata, problems=_PROBLEMS))
async def model_metadata(model: str, state: StateDep, request: Request) -> Response:
    """The signature of the version that is served."""
    return await _metadata(state, request, model, None)


@router.get(
    "/{model}/versions/{version}/metadata",
    summary="Signature of a version",
    **openapi.operation(answer=Metadata, problems=_PROBLEMS),
)
async def version_metadata(model: str, version: str, state: StateDep, request: Request) -> Response:
    """The same for one version."""
    return await _metadata(state, request, model, references.number(version))


@router.get(
    "/{model}/labels/{label}/metadata",
    summary="Signature of a label",
    **openapi.operation(answer=Metadata, problems=_PROBLEMS),
)
async def label_metadata(model: str, label: str, state: StateDep, request: Request) -> Response:
    """The same for the version that an alias names."""
    return await _metadata(state, request, model, references.alias(label))
