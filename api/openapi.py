"""The OpenAPI document: every call with its body, its answer and every problem it may give.

Beside the routes: each declares itself with ``**operation(...)`` in its decorator, and the
application's ``openapi()`` is ``document``. Bodies are msgspec types, whose schemas FastAPI
doesn't know; they travel in ``x-components`` of each operation and are lifted to their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from api import names, problems, refusals
from api.keys import describing
from api.keys.policies import policy_of
from wire import errors

JSON = "application/json"
"""The media type of every body and answer that is not said to have another."""
_OF_MODELS_PATHS: Mapping[str, Mapping[str, Any]] = {
    "model": {"type": "string", "pattern": names.PATTERN},
    "alias": {"type": "string", "pattern": names.PATTERN},
    "version": {"type": "integer", "minimum": 1, "maximum": names.VERSION_MAX},
}
"""What stands in our own paths; other protocols take any text, and know no such model."""
_REFS = "#/components/schemas/{name}"
_COMPONENTS = "x-components"
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")

Problems = Sequence[type[errors.WarrenError]]
"""Kinds of errors a call may answer with."""

ANYWHERE: Problems = (errors.InternalError, refusals.UriTooLong, refusals.HeadersTooLarge)
"""What every call may answer."""
OF_BODIES: Problems = (
    errors.MalformedBody,
    refusals.LengthRequired,
    errors.TooLarge,
    refusals.UnsupportedMedia,
    errors.BadInput,
)
"""What every call with a body may answer."""
OF_RPC: Problems = (
    errors.Unroutable,
    errors.BrokerUnavailable,
    errors.Overloaded,
    errors.DeadlineExceeded,
)
"""What every call that asks another process may answer."""
OF_MODELS: Problems = (*OF_RPC, errors.BadInput, errors.ModelNotFound)
"""What every call about one model may answer."""
OF_VERSIONS: Problems = (*OF_MODELS, errors.VersionNotFound)
"""What every call about one version may answer."""
OF_PREDICTIONS: Problems = (
    *OF_RPC,
    errors.ModelNotFound,
    errors.VersionNotFound,
    errors.AliasNotFound,
    errors.ModelCorrupt,
    errors.InferenceCrashed,
)
"""What every call that predicts may answer."""
OF_KEYS: Problems = (errors.Unauthenticated, errors.Forbidden, refusals.RateLimited, errors.LedgerUnavailable)
"""What every call that needs a key may answer."""
OF_LEDGER: Problems = (errors.LedgerUnavailable,)
"""What every call that reads or writes the ledger may answer."""

REQUEST_ID = {
    "X-Request-ID": {"description": "The caller's id when it is sane, else a new one.", "schema": {"type": "string"}}
}
"""The header of every answer."""
TIMEOUT = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "required": False,
    "description": "Milliseconds this call may take.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 30000, "default": 2000},
}
"""The header by which a caller sets a deadline."""
REQUEST_ID_IN = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "The caller's own id: at most 128 letters, digits and `._:-`.",
    "schema": {"type": "string", "maxLength": 128},
}
"""The header by which a caller names its request."""
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait before another try.", "schema": {"type": "integer"}}}


def path_parameter(name: str) -> dict[str, Any]:
    """A part of a path, for calls outside FastAPI's routing."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def operation(
    *,
    answer: Any = None,
    status: int = 200,
    body: Any = None,
    problems: Problems = (),
    answer_media: str = JSON,
    headers: Mapping[str, str] | None = None,
    example: Any = None,
    also: Mapping[int, Any] | None = None,
    parameters: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Keyword arguments for a router's decorator that document a call in full.

    ``answer`` and ``body`` are types msgspec knows; None means no content. ``problems`` are
    those of this call alone: ANYWHERE is added, and OF_BODIES where there is a body.
    ``answer_media`` other than JSON documents bytes. ``headers`` are names and descriptions of
    the answer's own headers; ``example`` is a body to try; ``also`` are answers with other
    statuses that are no problems; ``parameters`` are OpenAPI objects.
    """
    others = dict(also or {})
    schemas, components = _schemas([kind for kind in (*others.values(), body, answer) if kind is not None])
    extra: dict[str, Any] = {_COMPONENTS: components}
    if body is not None:
        extra["requestBody"] = _required(schemas[id(body)], example)
    if parameters:
        extra["parameters"] = list(parameters)
    kinds = [*problems, *ANYWHERE, *(OF_BODIES if body is not None else ())]
    responses = problem_answers(kinds)
    responses[status] = _good(status, schemas.get(id(answer)), answer_media, headers)
    for other, kind in others.items():
        responses[other] = _good(other, schemas[id(kind)], JSON, None)
    own = {"status_code": status, "response_class": Response, "response_model": None}
    return {**own, "responses": dict(sorted(responses.items())), "openapi_extra": extra}


def _required(schema: Any, example: Any) -> dict[str, Any]:
    shown = {} if example is None else {"example": example}
    return {"required": True, "content": {JSON: {"schema": schema, **shown}}}


def _good(status: int, schema: Any, media: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """An answer that is no problem: JSON of a schema, bytes of another media type, or nothing."""
    own = {name: {"description": text, "schema": {"type": "string"}} for name, text in (headers or {}).items()}
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase, "headers": {**REQUEST_ID, **own}}
    if media != JSON:
        described["content"] = {media: {"schema": {"type": "string", "format": "binary"}}}
    elif schema is not None:
        described["content"] = {media: {"schema": schema}}
    return described


def _schemas(kinds: Sequence[Any]) -> tuple[dict[int, Any], dict[str, Any]]:
    """The schema of each type by its ``id``, and the components they refer to."""
    schemas, components = msgspec.json.schema_components([*kinds, problems.Problem], ref_template=_REFS)
    return dict(zip(map(id, kinds), schemas, strict=False)), components


def problem_answers(kinds: Iterable[type[errors.WarrenError]]) -> dict[int, dict[str, Any]]:
    """The OpenAPI responses for kinds of errors, grouped by status, each naming its codes."""
    codes: dict[int, list[str]] = {}
    for kind in kinds:
        at_status = codes.setdefault(problems.STATUS[kind.code], [])
        if kind.code not in at_status:
            at_status.append(kind.code)
    schema = {"$ref": _REFS.format(name=problems.Problem.__name__)}
    return {
        status: {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(names)}",
            "headers": {**REQUEST_ID, **(_RETRY_AFTER if status in (429, 503) else {})},
            "content": {problems.MEDIA_TYPE: {"schema": schema}},
        }
        for status, names in sorted(codes.items())
    }


def document(
    app: FastAPI,
    raw_paths: Mapping[str, Mapping[str, Any]],
    *,
    keys: str = "off",
    restyled: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = lambda _path, operation: operation,
) -> dict[str, Any]:
    """The whole document of an application.

    ``raw_paths`` are the path items of calls that are no FastAPI routes, with operations as
    ``raw_operation`` makes them; ``keys`` is the setting ``api.keys``; ``restyled`` gives the
    operation of a path the form in which errors are answered there.
    """
    page = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    page["paths"] = {**{path: dict(item) for path, item in raw_paths.items()}, **page.get("paths", {})}
    schemas: dict[str, Any] = page.get("components", {}).get("schemas", {})
    refused = problem_answers(OF_KEYS)
    for path, item in page["paths"].items():
        for method, described in item.items():
            schemas |= described.get(_COMPONENTS, {})
            policy = policy_of(method.upper(), path)
            finished = describing.guarded(_finished(path, described), policy, refused, required=keys == "required")
            item[method] = restyled(path, finished)
    shown = {name: schemas[name] for name in sorted(schemas) if name not in _FASTAPIS_OWN}
    page["components"] = {"schemas": shown, "securitySchemes": describing.SCHEMES}
    return page


def _finished(path: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """An operation as it is shown: schemas lifted out, names with their rule, FastAPI's form of a 422 replaced."""
    answers = dict(described["responses"])
    if any(name in str(answers.get("422")) for name in _FASTAPIS_OWN):
        answers["422"] = problem_answers((errors.BadInput,))[422]
    shown = {**{key: value for key, value in described.items() if key != _COMPONENTS}, "responses": answers}
    if path.startswith("/models/") and "parameters" in shown:
        shown["parameters"] = [_with_rule(parameter) for parameter in shown["parameters"]]
    return shown


def _with_rule(parameter: Mapping[str, Any]) -> dict[str, Any]:
    rule = _OF_MODELS_PATHS.get(parameter["name"]) if parameter["in"] == "path" else None
    return {**parameter, "schema": {**parameter["schema"], **rule}} if rule else {**parameter}


def raw_operation(summary: str, description: str, tag: str, declared: Mapping[str, Any]) -> dict[str, Any]:
    """An operation object for a call outside FastAPI's routing; ``declared`` is operation()'s result."""
    return {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "operationId": summary.lower().replace(" ", "_"),
        **declared["openapi_extra"],
        "responses": {str(status): answer for status, answer in declared["responses"].items()},
    }
