"""Typed contents of a tensor as the raw bytes that travel to a predictor, and raw bytes as typed contents.

Between the messages and the batches: little-endian values in row-major order, of which BOOL takes a byte
and a BYTES element has its length before it (uint32), as everywhere in the protocol.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

from api.protocols import json_rows
from api.protocols.open_inference_grpc import open_inference_pb2 as messages

_FIELDS: Final = {
    "BOOL": ("bool_contents", "?"),
    "INT8": ("int_contents", "b"),
    "INT16": ("int_contents", "h"),
    "INT32": ("int_contents", "i"),
    "INT64": ("int64_contents", "q"),
    "UINT8": ("uint_contents", "B"),
    "UINT16": ("uint_contents", "H"),
    "UINT32": ("uint_contents", "I"),
    "UINT64": ("uint64_contents", "Q"),
    "FP32": ("fp32_contents", "f"),
    "FP64": ("fp64_contents", "d"),
    "BYTES": ("bytes_contents", ""),
}
"""The field of each datatype, and how ``struct`` calls an element. FP16 has no field: it is always raw."""
_LENGTH = struct.Struct("<I")


def raw(contents: messages.InferTensorContents, datatype: str, shape: Sequence[int], at: str) -> bytes:
    """The bytes of a tensor, whose contents stand at this place of the request. Raises errors.BadInput."""
    if datatype not in _FIELDS:
        raise json_rows.wrong(at, f"cannot hold {datatype}; send it in raw_input_contents")
    field, code = _FIELDS[datatype]
    others = [found.name for found, _ in contents.ListFields() if found.name != field]
    if others:
        raise json_rows.wrong(f"{at}.{others[0]}", f"must be left out: {datatype} data belongs in {field}")
    values = getattr(contents, field)
    count = math.prod(shape)
    if len(values) != count:
        raise json_rows.wrong(f"{at}.{field}", f"must hold {count} elements for the tensor's shape")
    if not code:
        return b"".join(part for value in values for part in (_LENGTH.pack(len(value)), value))
    try:
        return struct.pack(f"<{count}{code}", *values)
    except struct.error:
        raise json_rows.wrong(f"{at}.{field}", f"holds a number that is out of the range of {datatype}") from None


def fill(contents: messages.InferTensorContents, datatype: str, data: memoryview) -> None:
    """Put the bytes of an output into the field of its datatype."""
    field, code = _FIELDS[datatype]
    values = getattr(contents, field)
    if code:
        values.extend(struct.unpack(f"<{len(data) // struct.calcsize('<' + code)}{code}", data))
        return
    start = 0
    while start < len(data):
        (length,) = _LENGTH.unpack_from(data, start)
        values.append(bytes(data[start + 4 : start + 4 + length]))
        start += 4 + length
