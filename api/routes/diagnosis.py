"""GET /diagnosis: the whole gateway examined, for whoever has to mend it.

Between an admin and every part. It answers 200 also when parts have failed: the examination itself
was made. No path, no address, no secret stands in it.
"""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api import bodies, openapi
from api.diagnosis import parts, peers
from api.diagnosis.checks import Check, Status, look, worst
from api.ledger.database import now_ms
from api.state import StateDep
from api.times import iso
from wire import build

router = APIRouter(tags=["health"])
"""The examination."""

_LOG = "Look at this replica's log."
_START = "Start one; make status shows what runs, make logs why it ended."


class Diagnosis(msgspec.Struct, frozen=True):
    """``status`` is the worst of the checks; ``at`` the replica's clock; ``versions`` what this replica runs."""

    status: Status
    at: str
    checks: tuple[Check, ...]
    versions: dict[str, str]


@router.get("/diagnosis", summary="Examine the gateway", **openapi.operation(answer=Diagnosis))
async def diagnose(request: Request, state: StateDep) -> Response:
    """Broker and queues, ledger, datasets folder, predictors, trainer and volume, code and clocks; 3 s at most."""
    forwarded = "x-forwarded-proto" in request.headers
    looked = await asyncio.gather(
        look("replica", parts.replica(state, forwarded=forwarded), _LOG),
        look("broker", parts.broker(state), "Is RabbitMQ running? Look at its log."),
        look("ledger", parts.ledger(state), "Is the database running, and may this replica log in?"),
        look("datasets folder", parts.datasets(state), "Make the folder writable for the replica's user."),
        look("predictor", peers.predictors(state), _START),
        look("trainer", peers.trainer(state), _START),
    )
    checks = [check for part in looked for check in part]
    versions = {"build": build.BUILD, **build.libraries("fastapi", "celery", "sqlalchemy", "uvicorn")}
    return bodies.answer(Diagnosis(worst(checks), iso(now_ms()), tuple(checks), versions))
