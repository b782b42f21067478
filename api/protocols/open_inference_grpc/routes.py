"""POST under /inference.GRPCInferenceService: every call of the protocol's service but ModelInfer.

Between Nginx and ``calls``, which is loaded by the first of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import bodies
from api.protocols.open_inference_grpc import framing
from api.state import StateDep

PREFIX: Final = "/inference.GRPCInferenceService"
"""The service's full name, as a path."""
NAMES: Final = (
    "ServerLive",
    "ServerReady",
    "ServerMetadata",
    "ModelReady",
    "ModelMetadata",
    "RepositoryIndex",
    "ModelStatistics",
)
"""The calls."""

router = APIRouter(prefix=PREFIX, include_in_schema=False)
"""The calls as routes."""


def _call(name: str) -> Callable[[StateDep, Request], Awaitable[Response]]:
    async def answer(state: StateDep, request: Request) -> Response:
        # Here, so that a replica that is never asked like this does not load protobuf.
        from api.protocols.open_inference_grpc import calls

        framing.check(dict(request.headers.raw))
        raw = await bodies.read_any(request, limit_bytes=state.settings.limits.other_body_bytes)
        told = await calls.CALLS[name](framing.message(raw), state, request)
        status, value = framing.OK
        return Response(framing.body(told), 200, {status.decode(): value.decode()}, framing.KIND.decode())

    return answer


for _name in NAMES:
    router.add_api_route(f"/{_name}", _call(_name), methods=["POST"], name=_name)
