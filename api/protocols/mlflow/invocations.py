"""POST /mlflow/{model}/invocations: the form of a prediction in MLflow's scoring protocol.

Between an exchange and the bodies: JSON with exactly one of four members, or CSV; the answer is
``{"predictions": …}``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from api import bodies, openapi, refusals
from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.predict.forms import JSON, Form, RawHeaders, Written
from api.protocols import json_rows, references
from api.protocols.json_rows import Rows
from api.protocols.mlflow import refusing
from wire import errors

CSV: Final = "text/csv"
"""The content type of a table with a header row."""
FORMS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
"""The members of which a body has exactly one."""

_PATH = re.compile(rb"/mlflow/([^/?]+)/invocations")


def _absent() -> msgspec.Raw:
    return json_rows.ABSENT


class Invocation(msgspec.Struct):
    """What is asked, in exactly one of four forms. ``params`` are taken and have no effect."""

    dataframe_split: msgspec.Raw = msgspec.field(default_factory=_absent)
    dataframe_records: msgspec.Raw = msgspec.field(default_factory=_absent)
    instances: msgspec.Raw = msgspec.field(default_factory=_absent)
    inputs: msgspec.Raw = msgspec.field(default_factory=_absent)
    params: dict[str, Any] | None = None


class Split(msgspec.Struct):
    """A table as pandas writes it with ``orient="split"``; its index is not looked at."""

    columns: list[str | int]
    data: msgspec.Raw
    index: msgspec.Raw = msgspec.field(default_factory=_absent)


class Predictions(msgspec.Struct):
    """One prediction per row."""

    predictions: list[Any]


_decoder = msgspec.json.Decoder(Invocation)
_split_decoder = msgspec.json.Decoder(Split)


class Invocations(Form):
    """One model's call."""

    route = "/mlflow/{model}/invocations"

    def __init__(self, model: str) -> None:
        """As the path has it."""
        self._model = model

    def check(self, found: RawHeaders) -> None:
        """The name, and a content type that MLflow knows (Form)."""
        references.model(self._model)
        media, charset = _media(found)
        if media not in (bodies.JSON, CSV) or charset not in ("utf-8", "utf8"):
            raise refusals.UnsupportedMedia("The content type is neither application/json nor text/csv, in UTF-8.")
        if found.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise refusals.UnsupportedMedia("The body is compressed; send it as it is.")

    def json_bytes(self, size_bytes: int, found: RawHeaders) -> int:
        """CSV is not read here (Form)."""
        return size_bytes if _media(found)[0] == bodies.JSON else 0

    def read(self, raw: bytes, found: RawHeaders, max_rows: int) -> Asked:
        """Rows in the form they came in (Form)."""
        if _media(found)[0] == CSV:
            return json_rows.asked(self._model, None, Rows(raw, "csv", 1 + raw.count(b"\n")))
        return json_rows.asked(self._model, None, _rows(raw))

    def answer(self, asked: Asked, answer: Answer, request_id: str) -> Written:
        """The predictor's member between braces (Form)."""
        return Written(JSON, b"".join((b"{", answer.members, b"}")))

    def status(self, error: errors.WarrenError) -> int:
        """MLflow knows no 422 (Form)."""
        own = super().status(error)
        return refusing.STATUSES.get(own, own)

    def refusal(self, error: errors.WarrenError, request_id: str) -> Written:
        """``{"error_code", "message"}`` (Form)."""
        return refusing.refusal(error)


def _media(found: RawHeaders) -> tuple[str, str]:
    """Content type and charset, in small letters."""
    media, *parameters = found.get(b"content-type", b"").decode("latin-1").lower().split(";")
    charsets = [each.strip().removeprefix("charset=") for each in parameters if each.strip().startswith("charset=")]
    return media.strip(), charsets[0].strip('"') if charsets else "utf-8"


def _rows(raw: bytes) -> Rows:
    if raw.lstrip()[:1] == b"[":
        raise json_rows.wrong("body", f"must be an object with one of {', '.join(FORMS)}")
    request = json_rows.envelope(raw, _decoder, Invocation)
    given = [name for name in FORMS if len(memoryview(getattr(request, name)))]
    if len(given) != 1:
        bodies.check_strictly(raw)
        raise json_rows.wrong("body", f"must have exactly one of {', '.join(FORMS)}")
    (form,) = given
    if form == "dataframe_split":
        return _split(raw, request.dataframe_split)
    if form == "inputs":
        return json_rows.named(raw, request.inputs, form)
    return json_rows.listed(raw, getattr(request, form), form)


def _split(raw: bytes, table: msgspec.Raw) -> Rows:
    body = bytes(memoryview(table))
    split = json_rows.envelope(body, _split_decoder, Split)
    data, index = memoryview(split.data), memoryview(split.index)
    if bytes(data[:1]) != b"[":
        raise json_rows.wrong("dataframe_split.data", "must be an array of rows")
    bodies.check_around(raw, [memoryview(table)])
    # Within the table its parts may stand in any order.
    bodies.check_around(body, sorted((data, index), key=lambda part: body.find(bytes(part))))
    return Rows(body, "split", max(1, bytes(data).count(b"[") - 1))


@lru_cache(maxsize=1024)
def form_of(path: bytes) -> Form | None:
    """The form of a path; None where it is no invocation."""
    found = _PATH.fullmatch(path)
    return None if found is None else Invocations(references.part(found[1]))


_TEXT = (
    "One of `dataframe_split`, `dataframe_records`, `instances` and `inputs`; or a table as `text/csv` with a header "
    "row. The version that is served answers."
)


def described() -> dict[str, Any]:
    """The path items of the OpenAPI document."""
    declared = openapi.operation(
        body=Invocation,
        answer=Predictions,
        problems=openapi.OF_PREDICTIONS,
        headers={"Server-Timing": "Milliseconds in queues, computing, and in all."},
        parameters=(openapi.path_parameter("model"), openapi.TIMEOUT, openapi.REQUEST_ID_IN),
        example={"instances": [[5.1, 3.5, 1.4, 0.2]]},
    )
    return {Invocations.route: {"post": openapi.raw_operation("Invoke", _TEXT, "mlflow protocol", declared)}}
