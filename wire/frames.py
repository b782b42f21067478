"""The frame of a prediction batch: a JSON header and the requests' bytes behind it.

Between a replica and a predictor. The replica never decodes the rows: it puts each request's
bytes, as they came, behind a header that names their encoding; the reply carries each
request's answer, already encoded. Layout (little-endian)::

    uint32 header length | header JSON | blob 0 | blob 1 | …

The header lists one entry per request with ``size_bytes`` of its blob, in order. A batch of rows in
JSON has schema 1, as it always had; a batch of requests in any other encoding, and its answer, have
schema 2, which a peer that knows only the first refuses.
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
"""The version of this format that has rows in JSON and nothing else."""
SCHEMA_ENCODINGS = 2
"""The version in which an item names its encoding; readers refuse any other than these two."""

Encoding = Literal["json", "tensors", "split", "csv"]
"""How a request's rows are written. ``json``: the value of ``instances`` as it came: an array of
arrays (plain rows) or of objects (named rows). ``tensors``: the data of the item's tensors, in order.
``split``: a JSON object with the names of ``columns`` and rows of ``data`` in their order, as pandas
writes it. ``csv``: text in UTF-8 with a header row."""

Form = Literal["json", "raw"]
"""How a tensor's data is written: as a JSON array, flat or nested; or as little-endian values in row-major
order, of which BOOL takes a byte and a BYTES element has its length before it (uint32)."""


class Tensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tensor of a request: all features of all rows, or one column of them; ``size_bytes`` of the blob.

    ``datatype`` is one of wire.datatypes; where it is UNTYPED the data is JSON, and ``shape`` is empty: the
    data has its own.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    size_bytes: int
    form: Form = "json"


OutputName = Literal["predict", "predict_proba"]
"""What a version answers: its labels or values, and its probabilities."""


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """An output that is asked for, and how its data is to be written."""

    name: OutputName
    form: Form = "json"


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """An output of an answer: what it holds, and ``size_bytes`` of the blob. JSON data is a flat array."""

    name: OutputName
    datatype: str
    shape: tuple[int, ...]
    size_bytes: int


class BatchItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request within a batch; ``remaining_ms`` is the time it had left when it was sent.

    Answered with JSON members, unless ``outputs`` says which outputs are wanted instead.
    """

    size_bytes: int
    remaining_ms: int
    encoding: Encoding = "json"
    probabilities: bool = False
    request_id: str = ""
    tensors: tuple[Tensor, ...] = ()
    outputs: tuple[Wanted, ...] = ()


class BatchHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch for one model reference: a version, or an alias when ``version`` is 0."""

    model: str
    items: tuple[BatchItem, ...]
    version: int = 0
    alias: str = ""
    schema: int = SCHEMA


class ReplyItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one request: ``size_bytes`` of JSON members or of the data of ``outputs``, or an error.

    Members are a fragment ``"predictions":[…]`` or ``"predictions":[…],"probabilities":[…]``,
    to be put between braces with the other members of the HTTP answer.
    """

    size_bytes: int = 0
    rows: int = 0
    error: errors.ErrorBody | None = None
    outputs: tuple[Output, ...] = ()


class ReplyHeader(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answers in the order of the batch's items; ``error`` alone when the whole batch failed."""

    items: tuple[ReplyItem, ...] = ()
    version: int = 0
    inference_us: int = 0
    queue_us: int = 0
    error: errors.ErrorBody | None = None
    schema: int = SCHEMA


ITEM_BYTES = 384
"""An item takes at most this in a batch's header, without its tensors."""
_TENSOR_BYTES = 112
_CHARACTER_BYTES = 6


def tensors_bytes(tensors: Sequence[Tensor]) -> int:
    """What the tensors of an item take in a batch's header at most, reckoned without writing them.

    JSON writes up to six bytes for a character of a name.
    """
    return _TENSOR_BYTES * len(tensors) + _CHARACTER_BYTES * sum([len(tensor.name) for tensor in tensors])


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
    if header.schema not in (SCHEMA, SCHEMA_ENCODINGS):
        raise errors.MalformedBody(f"frame schema {header.schema} is neither {SCHEMA} nor {SCHEMA_ENCODINGS}")
    return header, view[4 + length :]


def split(blob: memoryview, parts: Sequence[Tensor] | Sequence[Output]) -> list[memoryview]:
    """The data of each tensor or output within a request's or an answer's blob. Raises errors.MalformedBody."""
    return _blobs(blob, [part.size_bytes for part in parts])


def _blobs(rest: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    if min(sizes, default=0) < 0 or sum(sizes) != len(rest):
        raise errors.MalformedBody("the sizes in the frame's header do not match its bytes")
    blobs, start = [], 0
    for size in sizes:
        blobs.append(rest[start : start + size])
        start += size
    return blobs
