"""What the calls of inference.GRPCInferenceService answer, on the parts that those over HTTP stand on.

Between the routes, which bring a message out of its frame, and the questions of ``api.protocols.served``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fastapi import Request

from api.protocols import served
from api.protocols.open_inference import answers, metadata
from api.protocols.open_inference_grpc import framing, reading, writing
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from api.readiness import Readiness
from api.state import State
from wire import errors

Call = Callable[[memoryview, State, Request], Awaitable[bytes]]
"""Answers one message with another. Raises errors.WarrenError kinds."""


async def _live(_raw: memoryview, _state: State, _request: Request) -> bytes:
    return messages.ServerLiveResponse(live=True).SerializeToString()


async def _ready(_raw: memoryview, _state: State, request: Request) -> bytes:
    readiness: Readiness = request.app.state.readiness
    return messages.ServerReadyResponse(ready=not await readiness.reasons()).SerializeToString()


async def _metadata(_raw: memoryview, _state: State, request: Request) -> bytes:
    extensions = ("model_repository", "statistics")
    told = messages.ServerMetadataResponse(name="warren", version=request.app.version, extensions=extensions)
    return told.SerializeToString()


async def _model_ready(raw: memoryview, state: State, request: Request) -> bytes:
    """False where the artefact fails its verification or no predictor runs."""
    message = reading.parse(messages.ModelReadyRequest(), raw)
    try:
        await _served(message.name, message.version, state, request)
    except (errors.ModelCorrupt, errors.Unroutable):
        return messages.ModelReadyResponse(ready=False).SerializeToString()
    return messages.ModelReadyResponse(ready=True).SerializeToString()


async def _model_metadata(raw: memoryview, state: State, request: Request) -> bytes:
    message = reading.parse(messages.ModelMetadataRequest(), raw)
    found = await _served(message.name, message.version, state, request)
    return writing.model(metadata.model(found)).SerializeToString()


async def _index(raw: memoryview, state: State, request: Request) -> bytes:
    message = reading.parse(messages.RepositoryIndexRequest(), raw)
    found = await answers.index(state, _timed(state, request), message.ready)
    return writing.index(found).SerializeToString()


async def _statistics(raw: memoryview, state: State, request: Request) -> bytes:
    message = reading.parse(messages.ModelStatisticsRequest(), raw)
    figures = request.app.predictions.statistics
    found = await answers.statistics(
        state, _timed(state, request), figures, message.name or None, message.version or None
    )
    return writing.statistics(found).SerializeToString()


async def _served(name: str, version: str, state: State, request: Request) -> served.Served:
    return await served.version(state, _timed(state, request), name, version or None)


def _timed(state: State, request: Request) -> Request:
    """A request with the call's deadline as HTTP has it: the questions know no other."""
    seconds = framing.timeout_s(dict(request.headers.raw), state.settings.predict)
    given = (b"x-request-timeout-ms", b"%d" % max(1, int(seconds * 1000)))
    return Request({"type": "http", "headers": [given]})


CALLS: Final[Mapping[str, Call]] = {
    "ServerLive": _live,
    "ServerReady": _ready,
    "ServerMetadata": _metadata,
    "ModelReady": _model_ready,
    "ModelMetadata": _model_metadata,
    "RepositoryIndex": _index,
    "ModelStatistics": _statistics,
}
"""The calls by their names."""
