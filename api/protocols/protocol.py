"""What a protocol gives the application: its paths, its routes, its form of an error.

Between the table of protocols and each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api import problems
from api.predict.forms import Form, Written
from wire import errors


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    All its paths begin with ``prefix``. ``form_of`` finds the form of a prediction by its path, and
    ``described`` gives the OpenAPI path items of those calls; ``router`` has all its other calls.
    ``refusal`` writes an error; ``error_schema`` is its JSON schema, ``statuses`` are those that differ
    from ``api.problems``.
    """

    prefix: str
    form_of: Callable[[bytes], Form | None]
    described: Callable[[], dict[str, Any]]
    router: APIRouter
    refusal: Callable[[errors.WarrenError], Written]
    error_schema: Mapping[str, Any] = field(default_factory=dict)
    statuses: Mapping[int, int] = field(default_factory=dict)

    def status(self, error: errors.WarrenError) -> int:
        """The HTTP status of an error."""
        own = problems.status_of(error)
        return self.statuses.get(own, own)

    def response(self, error: errors.WarrenError) -> Response:
        """The whole answer for an error, for routes."""
        written = self.refusal(error)
        fields = {name.decode(): value.decode() for name, value in written.fields}
        status = written.status or self.status(error)
        return Response(written.body, status, {**problems.extra_headers(error), **fields}, written.kind.decode())

    def restyled(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        """An OpenAPI operation with its errors in the protocol's own form."""
        answers: dict[str, Any] = {}
        for status, answer in operation["responses"].items():
            if problems.MEDIA_TYPE in answer.get("content", {}):
                status = str(self.statuses.get(int(status), int(status)))
                answer = {**answer, "content": {"application/json": {"schema": self.error_schema}}}
                there = answers.get(status)
                if there is not None:
                    codes = answer["description"].partition(": ")[2]
                    answer = {**there, "description": f"{there['description']}, {codes}"}
            answers[status] = answer
        return {**operation, "responses": dict(sorted(answers.items()))}
