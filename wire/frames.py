"""The frame of a prediction batch: a JSON header and the requests' bytes behind it.

Between a replica and a predictor. The replica never decodes the rows: it puts each request's
bytes, as they came, behind a header that names their encoding; the reply carries each
request's answer, already encoded. Layout (little-endian)::

    uint32 header length | header JSON | blob 0 | blob 1 | …

The header lists one entry per request with ``size_bytes`` of its blob, in order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec

from wire import errors

BATCH_TYPE = "predict.batch"
"""The AMQP type of a batch."""
REPLY_TYPE = "predict.reply"
"""The AMQP type of its answer."""
SCHEMA = 1
"""The version of this format; readers refuse any other."""

Encoding = Literal["json"]
"""How a request's rows are written. ``json``: the value of ``instances`` as it came: an array of
arrays (plain rows) or of objects (named rows)."""


class BatchItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request within a batch; ``remaining_ms`` is the time it had left when it was sent."""

    size_bytes: int
    remaining_ms: int
    encoding: Encoding = "json"
    probabilities: bool = False
    request_id: str = ""


class BatchHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch for one model reference: a version, or an alias when ``version`` is 0."""

    model: str
    items: tuple[BatchItem, ...]
    version: int = 0
    alias: str = ""
    schema: int = SCHEMA


class ReplyItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one request: ``size_bytes`` of JSON members, or an error.

    The blob is a fragment ``"predictions":[…]`` or ``"predictions":[…],"probabilities":[…]``,
    to be put between braces with the other members of the HTTP answer.
    """

    size_bytes: int = 0
    rows: int = 0
    error: errors.ErrorBody | None = None


class ReplyHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answers in the order of the batch's items; ``error`` alone when the whole batch failed."""

    items: tuple[ReplyItem, ...] = ()
    version: int = 0
    inference_us: int = 0
    queue_us: int = 0
    error: errors.ErrorBody | None = None
    schema: int = SCHEMA


_LENGTH = struct.Struct("<I")
_encoder = msgspec.json.Encoder()
_batch_decoder = msgspec.json.Decoder(BatchHeader)
_reply_decoder = msgspec.json.Decoder(ReplyHeader)


def encode(header: BatchHeader | ReplyHeader, blobs: Sequence[bytes | memoryview]) -> bytes:
    """One message body of a header and its blobs; sizes in the header must match the blobs."""
    head = _encoder.encode(header)
    return b"".join((_LENGTH.pack(len(head)), head, *blobs))


def decode_batch(body: bytes) -> tuple[BatchHeader, list[memoryview]]:
    """The header and each request's bytes. Raises errors.MalformedBody."""
    header, rest = _split(body, _batch_decoder)
    return header, _blobs(rest, [item.size_bytes for item in header.items])


def decode_reply(body: bytes) -> tuple[ReplyHeader, list[memoryview]]:
    """The header and each answer's bytes. Raises errors.MalformedBody."""
    header, rest = _split(body, _reply_decoder)
    return header, _blobs(rest, [item.size_bytes for item in header.items])


H = TypeVar("H", BatchHeader, ReplyHeader)


def _split(body: bytes, decoder: msgspec.json.Decoder[H]) -> tuple[H, memoryview]:
    view = memoryview(body)
    try:
        (length,) = _LENGTH.unpack_from(view)
        header = decoder.decode(view[4 : 4 + length])
    except (struct.error, ValueError, RecursionError) as error:
        raise errors.MalformedBody("not a prediction frame") from error
    if header.schema != SCHEMA:
        raise errors.MalformedBody(f"frame schema {header.schema} is not {SCHEMA}")
    return header, view[4 + length :]


def _blobs(rest: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    if min(sizes, default=0) < 0 or sum(sizes) != len(rest):
        raise errors.MalformedBody("the sizes in the frame's header do not match its bytes")
    blobs, start = [], 0
    for size in sizes:
        blobs.append(rest[start : start + size])
        start += size
    return blobs
