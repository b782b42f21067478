"""The one place where errors become HTTP answers: a table of statuses and RFC 9457 documents.

Between every route and the client: an exception goes in, ``application/problem+json`` of at
most 4 KB comes out. Nothing of the request is repeated in it, and no traceback.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from api import refusals
from wire import errors

MEDIA_TYPE = "application/problem+json"
"""The content type of every error (RFC 9457)."""
MAX_BYTES = 4096
"""The largest error document; a reply must not be a lever to produce traffic."""
LONGEST_WAIT_S = 86_400
"""The most that Retry-After says: a key with a call in three days is no reason to come back then."""
_MESSAGE_CHARS, _AT_CHARS, _PROBLEM_CHARS = 512, 120, 240

STATUS: dict[str, int] = {
    "bad_input": 422,
    "malformed_body": 400,
    "too_large": 413,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "model_not_found": 404,
    "version_not_found": 404,
    "alias_not_found": 404,
    "dataset_not_found": 404,
    "job_not_found": 404,
    "conflict": 409,
    "version_in_use": 409,
    "dataset_in_use": 409,
    "stale_champion": 409,
    "model_corrupt": 409,
    "training_failed": 422,
    "cancelled": 409,
    "storage_full": 507,
    "inference_crashed": 500,
    "retry_alone": 503,
    "stopping": 503,
    "internal_error": 500,
    "unroutable": 503,
    "overloaded": 429,
    "deadline_exceeded": 504,
    "broker_unavailable": 503,
    "ledger_unavailable": 503,
    "rate_limited": 429,
    "method_not_allowed": 405,
    "unsupported_media_type": 415,
    "length_required": 411,
    "uri_too_long": 414,
    "range_not_satisfiable": 416,
    "headers_too_large": 431,
}
"""Error code to HTTP status. A code that is not here is a defect and answers 500."""

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_RETRY_LATER = frozenset({429, 503})


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document (RFC 9457 section 3): ``type`` names the kind, ``code`` is for programs.

    ``errors`` lists at most 16 places of the input that are wrong; ``hint`` says what to do next.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[errors.FieldError, ...] = ()
    hint: str = ""


def status_of(error: errors.WarrenError) -> int:
    """The HTTP status of an error."""
    return STATUS.get(error.code, 500)


def document(error: errors.WarrenError, request_id: str) -> bytes:
    """The problem document of an error, at most MAX_BYTES of JSON.

    An internal error says nothing but that it happened: its message may hold details of ours.
    """
    if error.code not in STATUS or error.code == "internal_error":
        error = errors.InternalError()
    status = status_of(error)
    fields = tuple(
        errors.FieldError(field.at[:_AT_CHARS], field.problem[:_PROBLEM_CHARS])
        for field in error.errors[: errors.MAX_FIELD_ERRORS]
    )
    problem = Problem(
        type=f"urn:warren:problem:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message[:_MESSAGE_CHARS],
        code=error.code,
        request_id=request_id,
        errors=fields,
        hint=error.hint[:_MESSAGE_CHARS],
    )
    return _within_bound(problem)


def _within_bound(problem: Problem) -> bytes:
    encoded = msgspec.json.encode(problem)
    while len(encoded) > MAX_BYTES and problem.errors:
        problem = msgspec.structs.replace(problem, errors=problem.errors[:-1])
        encoded = msgspec.json.encode(problem)
    if len(encoded) > MAX_BYTES:
        encoded = msgspec.json.encode(msgspec.structs.replace(problem, detail=problem.detail[:64], hint=""))
    return encoded


def extra_headers(error: errors.WarrenError) -> dict[str, str]:
    """The headers an error brings: Retry-After in whole seconds (429, 503), Allow (405), the
    size of the file (416), the scheme of keys (401).

    The seconds are drawn from 1 to 3 so that refused clients do not all come back together; for a
    key over its rate they are those until its next call may pass.
    """
    headers = {}
    if isinstance(error, refusals.RateLimited):
        headers["retry-after"] = str(math.ceil(min(max(error.wait_s, 1.0), LONGEST_WAIT_S)))
    elif status_of(error) in _RETRY_LATER:
        headers["retry-after"] = str(random.randint(1, 3))  # noqa: S311 - jitter, not a secret
    if isinstance(error, refusals.MethodNotAllowed) and error.allow:
        headers["allow"] = error.allow
    if isinstance(error, refusals.RangeNotSatisfiable):
        headers["content-range"] = f"bytes */{error.size_bytes}"
    if error.code == "unauthenticated":
        headers["www-authenticate"] = 'Bearer realm="warren"'
    return headers


def response(error: errors.WarrenError, request_id: str) -> Response:
    """The whole answer for an error, for routes and exception handlers."""
    return Response(document(error, request_id), status_of(error), extra_headers(error), MEDIA_TYPE)


Respond = Callable[[errors.WarrenError, str, str], Response]
"""Makes the answer for an error, of the request's id and its path: other protocols have forms of their own."""


def respond(error: errors.WarrenError, request_id: str, _path: str) -> Response:
    """A problem document, whatever the path (Respond)."""
    return response(error, request_id)


def request_id_of(request: Request) -> str:
    """The id the edge gave this request."""
    return str(getattr(request.state, "request_id", ""))


def from_http(error: HTTPException) -> errors.WarrenError:
    """Starlette's own refusals (unknown path, wrong method, …) as errors of ours."""
    if error.status_code == 404:
        return errors.NotFound("There is nothing at this path.", hint="GET /docs lists every call.")
    if error.status_code == 413:
        return errors.TooLarge()
    if error.status_code == 415:
        return refusals.UnsupportedMedia()
    if error.status_code < 500:
        return errors.MalformedBody("The request cannot be read.")
    return errors.InternalError()


def from_validation(error: RequestValidationError) -> errors.BadInput:
    """FastAPI's check of path and query parameters as an error that names places, never values."""
    fields = []
    for item in error.errors()[: errors.MAX_FIELD_ERRORS]:
        at = ".".join(str(part) for part in item.get("loc", ()))
        fields.append(errors.FieldError(at, f"is not valid ({item.get('type', 'value_error')})"))
    return errors.BadInput("A parameter of the request is not valid.", errors=fields)


def _allowed(app: FastAPI, request: Request) -> str:
    """Every method that this path has; Starlette names those of one route only."""
    tried = ((method, {**request.scope, "method": method}) for method in _METHODS)
    found = (method for method, scope in tried if any(route.matches(scope)[0] is Match.FULL for route in app.routes))
    return ", ".join(found)


def install(app: FastAPI, respond: Respond = respond) -> None:
    """Make every error of an application an answer of ``respond``."""

    async def on_ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.WarrenError)
        return respond(error, request_id_of(request), request.url.path)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        ours = refusals.MethodNotAllowed(_allowed(app, request)) if error.status_code == 405 else from_http(error)
        return respond(ours, request_id_of(request), request.url.path)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(from_validation(error), request_id_of(request), request.url.path)

    app.add_exception_handler(errors.WarrenError, on_ours)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)
