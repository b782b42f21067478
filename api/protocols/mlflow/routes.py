"""GET under /mlflow/{model}: whether the model can be asked, as MLflow's scoring server says it.

Between a client and the questions that ``api.protocols.served`` asks.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import bodies, openapi
from api.protocols import served
from api.state import State, StateDep
from wire import errors

router = APIRouter(prefix="/mlflow/{model}", tags=["mlflow protocol"])
"""The calls."""

_PROBLEMS = (*openapi.OF_MODELS, errors.AliasNotFound)


async def _ping(state: State, request: Request, model: str) -> Response:
    served.number_of(await served.detail(state, request, model), None)
    return Response(b"\n", 200, media_type=bodies.JSON)


@router.get("/ping", summary="Ping a model", **openapi.operation(answer_media="text/plain", problems=_PROBLEMS))
async def ping(model: str, state: StateDep, request: Request) -> Response:
    """200 where the model is there and a version of it is served."""
    return await _ping(state, request, model)


@router.get("/health", summary="Health of a model", **openapi.operation(answer_media="text/plain", problems=_PROBLEMS))
async def health(model: str, state: StateDep, request: Request) -> Response:
    """The same."""
    return await _ping(state, request, model)


@router.get("/version", summary="Version of the server", **openapi.operation(answer_media="text/plain"))
async def version(model: str, request: Request) -> Response:
    """The version of this gateway's HTTP API, where MLflow tells its own."""
    return Response(request.app.version, 200, media_type="text/plain")
