"""What happens around every route: id, bounds on headers, metrics, log line, security headers.

Between Nginx and FastAPI's routing, as ASGI middleware without Starlette's request objects. An
exception that no handler knows ends here: it is logged, and the client gets a 500 that says
nothing of it.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import headers, metrics, problems, refusals
from wire import errors, logs

_QUIET = frozenset({"/livez", "/readyz"})


class Edge:
    """Wraps an ASGI application."""

    def __init__(self, app: ASGIApp, respond: problems.Respond = problems.respond) -> None:
        """``app`` answers what passes, ``respond`` makes the answer for an error."""
        self.app = app
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, self._respond)
        token = logs.request_id_var.set(exchange.request_id)
        metrics.in_flight.inc()
        try:
            check_sizes(scope)
            await self.app(scope, receive, exchange.send)
        except Exception as error:
            await exchange.fail(error)
        finally:
            metrics.in_flight.dec()
            exchange.count()
            logs.request_id_var.reset(token)


def check_sizes(scope: Scope) -> None:
    """Refuse what is too long. Raises refusals.UriTooLong and refusals.HeadersTooLarge."""
    if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > headers.MAX_TARGET_BYTES:
        raise refusals.UriTooLong
    if sum(len(name) + len(value) for name, value in scope["headers"]) > headers.MAX_BYTES:
        raise refusals.HeadersTooLarge


class _Exchange:
    """One request and its answer, as the edge sees them."""

    def __init__(self, scope: Scope, send: Send, respond: problems.Respond) -> None:
        self._respond = respond
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        self.request_id = headers.request_id(given)
        self.started_at = time.monotonic()
        self.status = 0
        self._scope = scope
        self._send = send
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Send on, with the headers of every answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            answered = MutableHeaders(scope=message)
            answered["x-request-id"] = self.request_id
            for name, value in headers.SECURITY:
                answered.setdefault(name.decode(), value.decode())
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer for an exception; where an answer has begun already, break it off."""
        if not isinstance(error, errors.WarrenError):
            logs.log("request.failed", level="ERROR", exc_info=True, route=self.route, method=self._scope["method"])
            if self.status:
                raise error
            error = errors.InternalError()
        answer = self._respond(error, self.request_id, self._scope["path"])
        await answer(self._scope, _nothing, self.send)

    def count(self) -> None:
        """Metrics and the log line."""
        seconds = time.monotonic() - self.started_at
        status = self.status or metrics.CLIENT_LEFT
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        metrics.requests.labels(self.route, method, str(status)).inc()
        metrics.request_seconds.labels(self.route).observe(seconds)
        if self._scope["path"] not in _QUIET or status >= 500:
            milliseconds = round(seconds * 1000, 1)
            logs.log("request.answered", method=method, route=self.route, status=status, ms=milliseconds)

    @property
    def route(self) -> str:
        """The path's template; ``unknown`` for a path that is none of ours."""
        route: Any = self._scope.get("route")
        return getattr(route, "path", "unknown")


_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
