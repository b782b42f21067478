"""POST /predict as a raw ASGI application: the shortest way from a socket to a batch and back.

Between Nginx and the coalescer. It stands before FastAPI's routing and middleware, which cost
more than everything else of a prediction, and has all they give: request id, bounds, deadline,
problem documents, headers, metrics, and its place in the OpenAPI document.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio.to_thread
from starlette.types import Receive, Scope, Send

from api import bodies, headers, metrics, openapi, problems, refusals
from api.predict import envelope
from api.predict.batches import Answer, ClientLeft
from api.predict.coalescer import Coalescer
from wire import errors, logs
from wire.settings import Settings

PATH: Final = "/predict"
"""Where it stands."""

_INLINE_BYTES = 256 * 1024
"""Bodies up to this are read at once; larger ones in a thread, so that other requests go on."""
_MAX_HEADERS = 256
_JSON = b"application/json"
_CONTENT_TYPE = (b"content-type", _JSON)

RawHeaders = Mapping[bytes, bytes]
"""A request's headers by lower-case name."""


class PredictRoute:
    """The ASGI application of one path."""

    def __init__(self, settings: Settings, coalescer: Callable[[], Coalescer]) -> None:
        """``coalescer`` is asked for at every request: it is made when the replica starts."""
        self._limits = settings.limits
        self._predict = settings.predict
        self._coalescer = coalescer
        self._reading_bytes = 0
        self._counted: dict[int, Any] = {}
        self._seconds = metrics.request_seconds.labels(PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        started_at = time.monotonic()
        found: RawHeaders = dict(scope["headers"])
        request_id = headers.request_id(found.get(b"x-request-id"))
        metrics.in_flight.inc()
        status = metrics.CLIENT_LEFT
        try:
            status = await self._answer(scope, receive, send, found, request_id, started_at)
        except ClientLeft:
            metrics.abandoned.inc()
        finally:
            metrics.in_flight.dec()
            self._count(status, time.monotonic() - started_at)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, found: RawHeaders, request_id: str, started_at: float
    ) -> int:
        try:
            _check_request(scope, found)
            expires_at = started_at + headers.timeout_s(found.get(b"x-request-timeout-ms"), self._predict)
            raw = await self._body(receive, found)
            asked = await self._read(raw)
            answer = await self._coalescer().predict(asked, expires_at, request_id, receive)
        except errors.WarrenError as error:
            return await _refuse(send, error, request_id)
        except ClientLeft:
            raise
        except Exception:
            logs.log("predict.failed", level="ERROR", exc_info=True, request_id=request_id)
            return await _refuse(send, errors.InternalError(), request_id)
        head = f'{{"model":"{asked.model}","version":{answer.version},'.encode()
        tail = f',"request_id":"{request_id}"}}'.encode()
        body = b"".join((head, answer.members, tail))
        timing = (b"server-timing", _timing(answer, started_at))
        await _send(send, 200, body, (_CONTENT_TYPE, timing), request_id)
        return 200

    async def _body(self, receive: Receive, found: RawHeaders) -> bytes:
        """The bytes of the body. Raises errors.TooLarge, errors.Overloaded and ClientLeft."""
        limit = self._limits.predict_body_bytes
        declared = _declared_bytes(found, limit)
        if self._reading_bytes + declared > self._predict.waiting_bytes:
            raise errors.Overloaded
        self._reading_bytes += declared
        try:
            message = await receive()
            pieces, size, more = [message.get("body", b"")], len(message.get("body", b"")), message.get("more_body")
            while more and size <= limit:
                message = await receive()
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                more = message.get("more_body")
        finally:
            self._reading_bytes -= declared
        if message["type"] == "http.disconnect":
            raise ClientLeft
        if size > limit:
            raise bodies.too_large(limit)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _read(self, raw: bytes) -> envelope.Asked:
        if len(raw) <= _INLINE_BYTES:
            return envelope.read(raw, self._limits.predict_rows)
        return await anyio.to_thread.run_sync(envelope.read, raw, self._limits.predict_rows)

    def _count(self, status: int, seconds: float) -> None:
        counter = self._counted.get(status)
        if counter is None:
            counter = self._counted[status] = metrics.requests.labels(PATH, "POST", str(status))
        counter.inc()
        self._seconds.observe(seconds)


def _check_request(scope: Scope, found: RawHeaders) -> None:
    """What can be told from method and headers. Raises what ``refusals`` has."""
    if scope["method"] != "POST":
        raise refusals.MethodNotAllowed("POST")
    if len(scope["query_string"]) > headers.MAX_TARGET_BYTES:
        raise refusals.UriTooLong
    size_bytes = sum(map(len, found)) + sum(map(len, found.values()))
    if len(scope["headers"]) > _MAX_HEADERS or size_bytes > headers.MAX_BYTES:
        raise refusals.HeadersTooLarge
    media = found.get(b"content-type", b"")
    if media != _JSON or b"content-encoding" in found:
        bodies.check_json_type(media.decode("latin-1"), found.get(b"content-encoding", b"").decode("latin-1"))


def _declared_bytes(found: RawHeaders, limit: int) -> int:
    """How large the body may become. Raises refusals.LengthRequired and errors.TooLarge."""
    length = found.get(b"content-length")
    if length is None:
        if b"transfer-encoding" not in found:
            raise refusals.LengthRequired
        return limit
    if not length.isdigit() or len(length) > 20:
        raise errors.MalformedBody("The Content-Length is not a number.")
    if int(length) > limit:
        raise bodies.too_large(limit)
    return int(length)


def _timing(answer: Answer, started_at: float) -> bytes:
    """``Server-Timing`` in milliseconds (W3C Server Timing)."""
    total_s = time.monotonic() - started_at
    return (
        f"queue;dur={answer.queue_s * 1000:.2f}, inference;dur={answer.inference_s * 1000:.2f}, "
        f"total;dur={total_s * 1000:.2f}"
    ).encode()


async def _refuse(send: Send, error: errors.WarrenError, request_id: str) -> int:
    status = problems.status_of(error)
    metrics.rejected.labels(error.code).inc()
    level: logs.Level = "WARNING" if status == 500 else "DEBUG"
    logs.log("predict.failed", level=level, request_id=request_id, code=error.code, status=status)
    extra = [(name.encode(), value.encode()) for name, value in problems.extra_headers(error).items()]
    kind = (b"content-type", problems.MEDIA_TYPE.encode())
    await _send(send, status, problems.document(error, request_id), (kind, *extra), request_id)
    return status


async def _send(send: Send, status: int, body: bytes, own: tuple[tuple[bytes, bytes], ...], request_id: str) -> None:
    fields = [
        *own,
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
        *headers.SECURITY,
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def described() -> dict[str, Any]:
    """The path item of the OpenAPI document."""
    declared = openapi.operation(
        body=envelope.PredictBody,
        answer=envelope.PredictAnswer,
        problems=(
            *openapi.OF_RPC,
            errors.ModelNotFound,
            errors.VersionNotFound,
            errors.AliasNotFound,
            errors.ModelCorrupt,
            errors.InferenceCrashed,
        ),
        headers={"Server-Timing": "Milliseconds in queues, computing, and in all."},
        parameters=(openapi.TIMEOUT, openapi.REQUEST_ID_IN),
        example={"model": "iris", "instances": [[5.1, 3.5, 1.4, 0.2]]},
    )
    text = (
        "One prediction per row, in order. Rows are arrays in the order of the model's features, or objects "
        "by name, where an absent or null cell is missing. Without `version` the alias `champion` answers."
    )
    return {"post": openapi.raw_operation("Predict", text, "predictions", declared)}
