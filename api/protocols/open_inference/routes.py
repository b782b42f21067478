"""GET under /v2, and the repository's index: everything of the Open Inference Protocol but infer.

Between a client and the questions that ``api.protocols.served`` asks.
"""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from api import bodies, openapi
from api.protocols import served
from api.protocols.open_inference import answers, metadata
from api.readiness import Readiness
from api.state import StateDep
from wire import errors

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
"""The calls."""

EXTENSIONS = ("binary_tensor_data", "model_repository", "statistics")
"""Triton's extensions of the protocol that are offered; of the repository, its index."""
_PROBLEMS = (*openapi.OF_VERSIONS, errors.AliasNotFound, errors.ModelCorrupt)

_OF_INDEX = (*openapi.OF_RPC, errors.MalformedBody, errors.BadInput, errors.TooLarge)


class Live(msgspec.Struct, frozen=True):
    """This replica answers."""

    live: bool


class Ready(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether everything is there that predicting takes; ``error`` says what is not."""

    ready: bool
    error: str = ""


class ModelReady(msgspec.Struct, frozen=True):
    """A version that can be asked."""

    name: str
    ready: bool


class Server(msgspec.Struct, frozen=True):
    """Who answers, and what it offers beyond the protocol."""

    name: str
    version: str
    extensions: tuple[str, ...]


class IndexAsked(msgspec.Struct):
    """Which models to list: with ``ready`` only those that are served."""

    ready: bool = False


class Measured(msgspec.Struct, frozen=True):
    """Statistics of versions."""

    model_stats: list[metadata.ModelStatistics]


@router.get("", summary="Server metadata", **openapi.operation(answer=Server))
async def server(request: Request) -> Response:
    """Who answers, and which extensions of the protocol it knows."""
    return bodies.answer(Server("warren", request.app.version, EXTENSIONS))


@router.get("/health/live", summary="Server live", **openapi.operation(answer=Live))
async def live() -> Response:
    """200 while the replica answers at all."""
    return bodies.answer(Live(True))


@router.get("/health/ready", summary="Server ready", **openapi.operation(answer=Ready, also={503: Ready}))
async def ready(request: Request) -> Response:
    """200 when the replica can do its work (as GET /readyz says); else 503, with what is missing."""
    readiness: Readiness = request.app.state.readiness
    reasons = await readiness.reasons()
    if not reasons:
        return bodies.answer(Ready(True))
    said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return bodies.answer(Ready(False, f"Not ready: {said}."), 503)


async def _statistics(state: StateDep, request: Request, model: str | None, version: str | None) -> Response:
    figures = request.app.predictions.statistics
    return bodies.answer(Measured(await answers.statistics(state, request, figures, model, version)))


@router.get("/models/stats", summary="Statistics of all models", **openapi.operation(answer=Measured))
async def all_statistics(state: StateDep, request: Request) -> Response:
    """How often each version was asked of this replica, and where the time went."""
    return await _statistics(state, request, None, None)


@router.get(
    "/models/{model}/stats",
    summary="Statistics of a model",
    **openapi.operation(answer=Measured, problems=openapi.OF_MODELS),
)
async def model_statistics(model: str, state: StateDep, request: Request) -> Response:
    """The same for the versions of one model."""
    return await _statistics(state, request, model, None)


@router.get(
    "/models/{model}/versions/{version}/stats",
    summary="Statistics of a version",
    **openapi.operation(answer=Measured, problems=openapi.OF_VERSIONS),
)
async def version_statistics(model: str, version: str, state: StateDep, request: Request) -> Response:
    """The same for one version."""
    return await _statistics(state, request, model, version)


async def _metadata(state: StateDep, request: Request, model: str, version: str | None) -> Response:
    return bodies.answer(metadata.model(await served.version(state, request, model, version)))


@router.get("/models/{model}", summary="Model metadata", **openapi.operation(answer=metadata.Model, problems=_PROBLEMS))
async def model_metadata(model: str, state: StateDep, request: Request) -> Response:
    """The tensors of the version that is served, from the schema it was fitted with."""
    return await _metadata(state, request, model, None)


@router.get(
    "/models/{model}/versions/{version}",
    summary="Model version metadata",
    **openapi.operation(answer=metadata.Model, problems=_PROBLEMS),
)
async def version_metadata(model: str, version: str, state: StateDep, request: Request) -> Response:
    """The same for one version."""
    return await _metadata(state, request, model, version)


async def _ready(state: StateDep, request: Request, model: str, version: str | None) -> Response:
    try:
        found = await served.version(state, request, model, version)
    except errors.ModelCorrupt as error:
        return bodies.answer(Ready(False, error.message), 503)
    return bodies.answer(ModelReady(found.model, True))


@router.get(
    "/models/{model}/ready",
    summary="Model ready",
    **openapi.operation(answer=ModelReady, also={503: Ready}, problems=_PROBLEMS),
)
async def model_ready(model: str, state: StateDep, request: Request) -> Response:
    """200 where a predictor is there and the artefact of the version that is served passes its verification."""
    return await _ready(state, request, model, None)


@router.get(
    "/models/{model}/versions/{version}/ready",
    summary="Model version ready",
    **openapi.operation(answer=ModelReady, also={503: Ready}, problems=_PROBLEMS),
)
async def version_ready(model: str, version: str, state: StateDep, request: Request) -> Response:
    """The same for one version."""
    return await _ready(state, request, model, version)


@router.post(
    "/repository/index",
    summary="Index of models",
    **openapi.operation(answer=list[answers.Indexed], problems=_OF_INDEX),
)
async def index(state: StateDep, request: Request) -> Response:
    """Every model with the version that is served. A body may be left out."""
    raw = await bodies.read_any(request, limit_bytes=state.settings.limits.other_body_bytes)
    asked = bodies.decode(raw, IndexAsked) if raw else IndexAsked()
    return bodies.answer(await answers.index(state, request, asked.ready))
