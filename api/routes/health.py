"""GET /livez and /readyz: is this replica alive, and can it do its work."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import bodies, openapi
from api.readiness import Readiness

router = APIRouter(tags=["health"])
"""The health calls."""


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """``status`` is alive, ready or not ready; ``reasons`` name what is missing."""

    status: str
    reasons: dict[str, str] = {}


@router.get("/livez", summary="Is this replica alive", **openapi.operation(answer=Health))
async def livez() -> Response:
    """200 while the process answers at all."""
    return bodies.answer(Health("alive"))


@router.get("/readyz", summary="Can this replica do its work", **openapi.operation(answer=Health, also={503: Health}))
async def readyz(request: Request) -> Response:
    """200 when broker, ledger, predictors, workers and trainers are there; else 503 with reasons."""
    readiness: Readiness = request.app.state.readiness
    reasons = await readiness.reasons()
    return bodies.answer(Health("not ready" if reasons else "ready", reasons), 503 if reasons else 200)
