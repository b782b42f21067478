"""POST /v2/models/{model}/infer: the form of a prediction in the Open Inference Protocol.

Between an exchange and the bodies: ``reading`` reads a request, ``writing`` writes its answer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from api import openapi, refusals
from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.predict.forms import Form, RawHeaders, Written
from api.protocols import references
from api.protocols.open_inference import reading, writing
from wire import errors

_PATH = re.compile(rb"/v2/models/([^/?]+)(?:/versions/([^/?]+))?/infer")


class Infer(Form):
    """One model's call, at one version or at the one that is served."""

    route = "/v2/models/{model}/infer"

    def __init__(self, model: str, version: str | None) -> None:
        """Both as the path has them."""
        self._model = model
        self._version = version

    def check(self, found: RawHeaders) -> None:
        """The names, and that the body is not compressed: clients of this protocol send no type (Form)."""
        references.model(self._model), references.version(self._version)
        if found.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise refusals.UnsupportedMedia("The body is compressed; send it as it is.")

    def json_bytes(self, size_bytes: int, found: RawHeaders) -> int:
        """Binary tensors are not read here (Form)."""
        given = found.get(reading.HEADER_LENGTH, b"")
        return min(size_bytes, int(given)) if given.isdigit() and len(given) < 20 else size_bytes

    def read(self, raw: bytes, found: RawHeaders, max_rows: int) -> Asked:
        """Tensors and wanted outputs (Form)."""
        request = reading.read(raw, found.get(reading.HEADER_LENGTH), max_rows)
        version, alias = references.version(self._version)
        return Asked(
            references.model(self._model),
            version,
            alias,
            request.data,
            any(each.name == "predict_proba" for each in request.outputs),
            request.rows,
            "tensors",
            request.tensors,
            request.outputs,
            request.id,
        )

    def answer(self, asked: Asked, answer: Answer, request_id: str) -> Written:
        """Outputs as they were wanted (Form)."""
        return writing.answer(asked, answer)

    def status(self, error: errors.WarrenError) -> int:
        """The protocol knows no 422 (Form)."""
        own = super().status(error)
        return writing.STATUSES.get(own, own)

    def refusal(self, error: errors.WarrenError, request_id: str) -> Written:
        """``{"error": "…"}`` (Form)."""
        return writing.refusal(error)


class InferVersion(Infer):
    """The same for a version that the path names."""

    route = "/v2/models/{model}/versions/{version}/infer"


@lru_cache(maxsize=1024)
def form_of(path: bytes) -> Form | None:
    """The form of a path; None where it is no infer call."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    model, version = found.groups()
    if version is None:
        return Infer(references.part(model), None)
    return InferVersion(references.part(model), references.part(version))


class Output(msgspec.Struct):
    """An output of an answer; without ``data`` it follows the JSON in binary."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferAnswer(msgspec.Struct):
    """What an infer call answers."""

    model_name: str
    model_version: str
    outputs: list[Output]
    id: str | None = None


_TEXT = (
    "One tensor of shape [rows, columns] with all features in order, or a tensor for each column by name. Data is "
    "JSON, flat or nested, or follows it in binary (`Inference-Header-Content-Length`, `binary_data_size`). Outputs "
    "are `predict` and, where they are asked for, `predict_proba`."
)


def described() -> dict[str, Any]:
    """The path items of the OpenAPI document."""
    model, version = openapi.path_parameter("model"), openapi.path_parameter("version")
    return {
        Infer.route: {"post": _operation("Infer", (model,))},
        InferVersion.route: {"post": _operation("Infer with a version", (model, version))},
    }


def _operation(summary: str, parameters: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    declared = openapi.operation(
        body=reading.InferRequest,
        answer=InferAnswer,
        problems=openapi.OF_PREDICTIONS,
        headers={"Server-Timing": "Milliseconds in queues, computing, and in all."},
        parameters=(*parameters, openapi.TIMEOUT, openapi.REQUEST_ID_IN),
        example={"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}]},
    )
    return openapi.raw_operation(summary, _TEXT, "open inference protocol", declared)
