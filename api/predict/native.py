"""The form of POST /predict: Warren's own, with a problem document for every error.

Beside ``forms``; the envelope is read by ``envelope``.
"""

from __future__ import annotations

from typing import Final

from api import problems
from api.predict import envelope
from api.predict.batches import Answer
from api.predict.forms import JSON, Form, RawHeaders, Written
from wire import errors

PATH: Final = "/predict"
"""Where predictions are asked for."""

_PROBLEM = problems.MEDIA_TYPE.encode()


class Native(Form):
    """POST /predict."""

    route = PATH

    def check(self, found: RawHeaders) -> None:
        """Only JSON (Form)."""
        if found.get(b"content-type") != JSON or b"content-encoding" in found:
            super().check(found)

    def glance(self, raw: bytes, max_rows: int) -> envelope.Asked | None:
        """The envelope, and the rows as they came (Form)."""
        return envelope.glance(raw, max_rows)

    def read(self, raw: bytes, found: RawHeaders, max_rows: int) -> envelope.Asked:
        """The envelope (Form)."""
        return envelope.read(raw, max_rows)

    def answer(self, asked: envelope.Asked, answer: Answer, request_id: str) -> Written:
        """The predictor's members between braces (Form)."""
        head = f'{{"model":"{asked.model}","version":{answer.version},'.encode()
        return Written(JSON, b"".join((head, answer.members, f',"request_id":"{request_id}"}}'.encode())))

    def refusal(self, error: errors.WarrenError, request_id: str) -> Written:
        """A problem document (Form)."""
        return Written(_PROBLEM, problems.document(error, request_id))


NATIVE: Final = Native()
"""The one object."""
