"""What differs between the protocols a prediction may come in: its body's form, its answer's and its errors'.

Between an exchange, which has the checks, the deadline and the counts of every prediction, and a
protocol. ``native`` is the form of POST /predict, those of other protocols are in ``api.protocols``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from api import bodies, headers, problems
from api.predict.batches import Answer
from api.predict.envelope import Asked
from wire import errors
from wire.settings import Predict

JSON = b"application/json"
"""The content type of most bodies, in and out."""

RawHeaders = Mapping[bytes, bytes]
"""A request's headers by lower-case name."""
Field = tuple[bytes, bytes]
"""One header of an answer."""


class Written(NamedTuple):
    """A body as it goes out, with its content type and headers of its own.

    ``status`` is HTTP's where that tells the client nothing: the answer is counted and logged under the other one.
    """

    kind: bytes
    body: bytes
    fields: tuple[Field, ...] = ()
    status: int | None = None


class Form(ABC):
    """One call of a protocol. Has no state: one object serves any number of requests at once."""

    route: ClassVar[str]
    """The path's template, as metrics and policies know it."""

    def check(self, found: RawHeaders) -> None:
        """Check the headers. Raises refusals.UnsupportedMedia, errors.NotFound and errors.BadInput kinds."""
        bodies.check_json_type(
            found.get(b"content-type", b"").decode("latin-1"), found.get(b"content-encoding", b"").decode("latin-1")
        )

    def timeout_s(self, found: RawHeaders, limits: Predict) -> float:
        """Seconds the call may take. Raises errors.BadInput."""
        return headers.timeout_s(found.get(b"x-request-timeout-ms"), limits)

    def json_bytes(self, size_bytes: int, found: RawHeaders) -> int:
        """How much of a body of this size takes time to read."""
        return size_bytes

    def glance(self, raw: bytes, max_rows: int) -> Asked | None:
        """What ``read`` gives for a body as usual, without a look at its rows; None to have it read whole."""
        return None

    @abstractmethod
    def read(self, raw: bytes, found: RawHeaders, max_rows: int) -> Asked:
        """What a body asks for. Raises errors.MalformedBody, errors.BadInput and errors.TooLarge."""

    @abstractmethod
    def answer(self, asked: Asked, answer: Answer, request_id: str) -> Written:
        """The body of an answer. Raises errors.InternalError where it is none that was asked for."""

    def status(self, error: errors.WarrenError) -> int:
        """The HTTP status of an error."""
        return problems.status_of(error)

    @abstractmethod
    def refusal(self, error: errors.WarrenError, request_id: str) -> Written:
        """The body of an error; it repeats nothing of the request and no detail of ours."""
