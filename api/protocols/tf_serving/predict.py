"""POST /v1/models/{model}:predict: the form of a prediction in TensorFlow Serving's protocol.

Between an exchange and the bodies: ``instances`` are rows and answered with ``predictions``, ``inputs``
are columns and answered with ``outputs``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from api import openapi
from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.predict.forms import JSON, Form, RawHeaders, Written
from api.protocols import json_rows, references, sentences
from wire import errors

STATUSES: Final = {422: 400}
"""The protocol knows no 422."""
ERROR_SCHEMA: Final = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
"""What an error looks like."""
SIGNATURE: Final = "serving_default"
"""The only signature that a model has here."""

_PATH = re.compile(rb"/v1/models/([^/?:]+)(?:/(versions|labels)/([^/?:]+))?:predict")
_PREDICTIONS = b'"predictions":'


class PredictRequest(msgspec.Struct):
    """What is asked: rows in ``instances``, or columns in ``inputs``, by name."""

    instances: msgspec.Raw = msgspec.field(default_factory=lambda: json_rows.ABSENT)
    inputs: msgspec.Raw = msgspec.field(default_factory=lambda: json_rows.ABSENT)
    signature_name: str | None = None


class PredictAnswer(msgspec.Struct):
    """One prediction per row: ``predictions`` for instances, ``outputs`` for inputs."""

    predictions: list[Any] | None = None
    outputs: list[Any] | None = None


_decoder = msgspec.json.Decoder(PredictRequest)


class Predict(Form):
    """One model's call, at the version that is served."""

    route = "/v1/models/{model}:predict"

    def __init__(self, model: str, version: str | None) -> None:
        """Both as the path has them."""
        self._model = model
        self._version = version

    def check(self, found: RawHeaders) -> None:
        """The names, and JSON, whose content type may be left out (Form)."""
        references.model(self._model), references.version(self._version)
        if b"content-type" in found or b"content-encoding" in found:
            super().check({b"content-type": b"application/json", **found})

    def read(self, raw: bytes, found: RawHeaders, max_rows: int) -> Asked:
        """Rows or columns (Form)."""
        request = json_rows.envelope(raw, _decoder, PredictRequest)
        by_row, by_column = len(memoryview(request.instances)) > 0, len(memoryview(request.inputs)) > 0
        if by_row == by_column:
            raise json_rows.wrong("body", "must have either instances, a list of rows, or inputs, columns by name")
        if request.signature_name not in (None, "", SIGNATURE):
            raise json_rows.wrong("signature_name", f"must be {SIGNATURE}, or be left out")
        if by_row:
            rows = json_rows.listed(raw, request.instances, "instances")
        else:
            rows = json_rows.named(raw, request.inputs, "inputs")
        return json_rows.asked(self._model, self._version, rows, by_column)

    def answer(self, asked: Asked, answer: Answer, request_id: str) -> Written:
        """The predictor's member between braces (Form)."""
        if asked.note:
            return Written(JSON, b"".join((b'{"outputs":', answer.members[len(_PREDICTIONS) :], b"}")))
        return Written(JSON, b"".join((b"{", answer.members, b"}")))

    def status(self, error: errors.WarrenError) -> int:
        """The protocol knows no 422 (Form)."""
        own = super().status(error)
        return STATUSES.get(own, own)

    def refusal(self, error: errors.WarrenError, request_id: str) -> Written:
        """``{"error": "…"}`` (Form)."""
        return refusal(error)


class PredictVersion(Predict):
    """The same for a version that the path names by number."""

    route = "/v1/models/{model}/versions/{version}:predict"

    def check(self, found: RawHeaders) -> None:
        """That it is a number (Form)."""
        references.number(self._version or "")
        super().check(found)


class PredictLabel(Predict):
    """The same for an alias, which this protocol calls a label."""

    route = "/v1/models/{model}/labels/{label}:predict"

    def check(self, found: RawHeaders) -> None:
        """That it is an alias (Form)."""
        references.alias(self._version or "")
        super().check(found)


@lru_cache(maxsize=1024)
def form_of(path: bytes) -> Form | None:
    """The form of a path; None where it is no predict call."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    model, kind, version = found.groups()
    if kind is None:
        return Predict(references.part(model), None)
    chosen = PredictVersion if kind == b"versions" else PredictLabel
    return chosen(references.part(model), references.part(version))


def refusal(error: errors.WarrenError) -> Written:
    """``{"error": "…"}``."""
    return Written(JSON, msgspec.json.encode({"error": sentences.of(error)}))


_TEXT = (
    "`instances` are rows, as arrays in the order of the model's features or as objects by name; `inputs` are "
    "columns by name. What is not sent, or null, is missing."
)


def described() -> dict[str, Any]:
    """The path items of the OpenAPI document."""
    model = openapi.path_parameter("model")
    return {
        Predict.route: {"post": _operation("Predict with the TensorFlow Serving protocol", model)},
        PredictVersion.route: {
            "post": _operation("Predict with a version", model, openapi.path_parameter("version")),
        },
        PredictLabel.route: {"post": _operation("Predict with a label", model, openapi.path_parameter("label"))},
    }


def _operation(summary: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    declared = openapi.operation(
        body=PredictRequest,
        answer=PredictAnswer,
        problems=openapi.OF_PREDICTIONS,
        headers={"Server-Timing": "Milliseconds in queues, computing, and in all."},
        parameters=(*parameters, openapi.TIMEOUT, openapi.REQUEST_ID_IN),
        example={"instances": [[5.1, 3.5, 1.4, 0.2]]},
    )
    return openapi.raw_operation(summary, _TEXT, "tensorflow serving protocol", declared)
