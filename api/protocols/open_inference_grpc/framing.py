"""A gRPC call as Nginx hands it on: a message in its frame, a deadline, and the status of an answer.

Between HTTP/1.1 and the messages, without a look into them (the protocol: github.com/grpc/grpc,
doc/PROTOCOL-HTTP2.md). An answer's status stands in headers of ours, which Nginx moves into the trailers.
"""

from __future__ import annotations

import re
import struct
from typing import Final
from urllib.parse import quote, unquote

from api import headers, problems, refusals
from api.predict.forms import Field, RawHeaders, Written
from api.protocols import sentences
from wire import errors
from wire.settings import Predict

KIND: Final = b"application/grpc"
"""The content type of every answer."""
OK: Final[Field] = (b"grpc-status", b"0")
"""The status of a good answer."""
INTERNAL: Final = 13
"""The code for whatever ``CODES`` does not have."""
CODES: Final = {
    400: 3,  # INVALID_ARGUMENT
    401: 16,  # UNAUTHENTICATED
    403: 7,  # PERMISSION_DENIED
    404: 5,  # NOT_FOUND
    409: 9,  # FAILED_PRECONDITION
    413: 8,  # RESOURCE_EXHAUSTED
    415: 12,  # UNIMPLEMENTED
    422: 3,
    429: 8,
    431: 8,
    503: 14,  # UNAVAILABLE
    504: 4,  # DEADLINE_EXCEEDED
}
"""gRPC's code for an error's HTTP status (``api.problems``)."""

_PREFIX = struct.Struct(">BI")
"""Whether the message is compressed, and its length."""
_MOST_BYTES = 2048
"""The longest sentence as it travels: Nginx takes all headers of an answer together only up to 4 KiB."""
_HALF_ESCAPE = re.compile("%.?$")
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_UNIT_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def message(raw: bytes) -> memoryview:
    """The message of a body. Raises errors.MalformedBody and refusals.UnsupportedMedia."""
    if len(raw) < _PREFIX.size:
        raise errors.MalformedBody("The call has no message.")
    compressed, size_bytes = _PREFIX.unpack_from(raw)
    # It would have to be unpacked with a bound, and nobody wins much: numbers do not compress.
    if compressed:
        raise refusals.UnsupportedMedia("The message is compressed; send it as it is.")
    if size_bytes != len(raw) - _PREFIX.size:
        raise errors.MalformedBody("The call does not have exactly one message.")
    return memoryview(raw)[_PREFIX.size :]


def body(packed: bytes) -> bytes:
    """A message in its frame."""
    return _PREFIX.pack(0, len(packed)) + packed


def check(found: RawHeaders) -> None:
    """Whether a request is a call. Raises refusals.UnsupportedMedia."""
    if not found.get(b"content-type", b"").startswith(KIND):
        raise refusals.UnsupportedMedia("This path speaks gRPC: the content type must be application/grpc.")


def timeout_s(found: RawHeaders, limits: Predict) -> float:
    """Seconds a call may take: our own header, else gRPC's deadline, else ours, which bounds it.

    Raises errors.BadInput for a header that cannot be read.
    """
    given = found.get(b"x-request-timeout-ms")
    if given is not None or b"grpc-timeout" not in found:
        return headers.timeout_s(given, limits)
    read = _TIMEOUT.fullmatch(found[b"grpc-timeout"])
    if read is None:
        place = errors.FieldError("grpc-timeout", "must be a number of at most 8 digits with one of H M S m u n")
        raise errors.BadInput("A header of the request is not valid.", errors=[place])
    wanted_s = int(read[1]) * _UNIT_S[read[2]]
    return max(0.001, min(wanted_s, limits.deadline_max_ms / 1000))


def refusal(error: errors.WarrenError) -> Written:
    """An error as gRPC has it: no message, the status beside it, and 200 for HTTP."""
    code = CODES.get(problems.status_of(error), INTERNAL)
    sentence = _quoted(sentences.of(error)).encode()
    return Written(KIND, b"", ((b"grpc-status", b"%d" % code), (b"grpc-message", sentence)), 200)


def _quoted(sentence: str) -> str:
    """Percent-encoded, where a byte beyond ASCII takes three, and cut behind a whole character."""
    quoted = quote(sentence, safe=_PLAIN)
    if len(quoted) <= _MOST_BYTES:
        return quoted
    return quote(unquote(_HALF_ESCAPE.sub("", quoted[:_MOST_BYTES]), errors="ignore"), safe=_PLAIN)
