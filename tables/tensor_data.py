"""The data of one tensor to flat values: JSON or bytes come in, an array or a list of texts goes out.

Beneath ``tables.tensors``. The datatypes are those of the Open Inference Protocol. In JSON a number is
read as it is written, whatever the width of its datatype, and null is missing.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tables import parsing, plain
from tables.errors import RowErrors

Kind = Literal["number", "integer", "boolean", "text", "cell"]
"""What a tensor's values are; ``cell``: values of JSON that say themselves what they are."""

NUMBERS: Final = {
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
}
"""The datatypes of numbers, as NumPy calls them."""

_KINDS: dict[str, Kind] = {
    **{name: "number" if name.startswith("FP") else "integer" for name in NUMBERS},
    "BOOL": "boolean",
    "BYTES": "text",
}
_JSON: dict[Kind, tuple[frozenset[type], str]] = {
    "number": (frozenset({int, float, type(None)}), "numbers, or null for a missing one"),
    "integer": (frozenset({int, type(None)}), "whole numbers, or null for a missing one"),
    "boolean": (frozenset({bool, type(None)}), "true and false, or null for a missing one"),
    "text": (frozenset({str, type(None)}), "texts in quotes, or null for a missing one"),
}
_length_at = struct.Struct("<I").unpack_from


@dataclass(frozen=True)
class Values:
    """The values of a tensor, row-major.

    ``array``: for numbers, integers and booleans a one-dimensional array, of float64 with NaN where JSON
    had null; for texts a list of str, None for null; for cells a list of what JSON had.
    """

    kind: Kind
    array: Any

    def every(self, step: int, start: int) -> Values:
        """Those of one column of a table with ``step`` columns."""
        return Values(self.kind, self.array[start::step])


def values(datatype: str, shape: tuple[int, ...], data: memoryview, *, raw: bool, at: str) -> Values:
    """Read a tensor's data; ``at`` names the tensor. Raises RowErrors."""
    kind = _KINDS.get(datatype)
    if kind is None:
        raise _wrong(f"{at}.datatype", f"must be one of {', '.join(sorted(_KINDS))}")
    count = math.prod(shape)
    if not raw:
        # Each value takes a byte at least; nothing is done for those that cannot be there.
        if count > len(data):
            raise _miscounted(count, at)
        return _from_json(kind, shape, count, data, at)
    if kind == "text":
        return Values(kind, _texts(data, count, at))
    dtype = np.dtype("u1" if kind == "boolean" else NUMBERS[datatype])
    if len(data) != count * dtype.itemsize:
        raise _wrong(at, f"must have {count * dtype.itemsize} bytes for its shape and datatype")
    array = np.frombuffer(data, dtype=dtype)
    return Values(kind, array != 0 if kind == "boolean" else array)


def untyped(data: memoryview, at: str) -> tuple[int, int, Values]:
    """Rows, width and values of a JSON array whose datatype nobody names. Raises RowErrors."""
    found = _json(data, at)
    if not isinstance(found, list):
        raise _wrong(at, "must be an array")
    if set(map(type, found)) != {list}:
        return len(found), 1, Values("cell", found)
    widths = set(map(len, found))
    if len(widths) != 1:
        raise _wrong(at, "must have rows of the same length")
    (width,) = widths
    return len(found), width, Values("cell", list(chain.from_iterable(found)))


def _json(data: memoryview, at: str) -> Any:
    try:
        return parsing.loads(bytes(data))
    except parsing.NotJson:
        raise _wrong(at, "is not a JSON array of finite numbers, texts or booleans") from None


def _wrong(at: str, problem: str) -> RowErrors:
    return RowErrors(((at, problem),))


def _miscounted(count: int, at: str) -> RowErrors:
    return _wrong(f"{at}.data", f"must hold {count} values for its shape, flat or nested as the shape is")


def _texts(data: memoryview, count: int, at: str) -> list[str]:
    """Elements with their length before them. Equal ones are decoded once: categories repeat."""
    raw = bytes(data)
    elements: list[bytes] = []
    add = elements.append
    start, size = 0, len(raw)
    while start + 4 <= size:
        stop = start + 4 + _length_at(raw, start)[0]
        add(raw[start + 4 : stop])
        start = stop
    if start != size or len(elements) != count:
        raise _wrong(at, f"must hold {count} elements, each with its length in 4 bytes before it")
    try:
        known = {element: element.decode() for element in set(elements)}
    except UnicodeDecodeError:
        raise _wrong(at, "holds text that is not UTF-8") from None
    return list(map(known.__getitem__, elements))


def _from_json(kind: Kind, shape: tuple[int, ...], count: int, data: memoryview, at: str) -> Values:
    text = bytes(data).strip()
    if kind == "number":
        quick = _quick(text, shape, count)
        if quick is not None:
            return Values(kind, quick)
    found = _json(memoryview(text), f"{at}.data")
    flat = _flat(found if isinstance(found, list) else [], shape, at)
    types, expected = _JSON[kind]
    if not set(map(type, flat)) <= types:
        raise _wrong(f"{at}.data", f"must hold {expected}")
    if kind == "text":
        return Values(kind, flat)
    if None not in flat and kind != "number":
        return Values(kind, _whole(flat, kind, at))
    return Values("number" if kind == "integer" else kind, np.array(flat, dtype=np.float64))


def _quick(text: bytes, shape: tuple[int, ...], count: int) -> NDArray[np.float64] | None:
    """Numbers and nothing else, at the speed of a SIMD parser; None for anything else."""
    nested = len(shape) == 2 and text[1:2] == b"["
    numbers = plain.numbers(text[1:-1], shape[1]) if nested else plain.numbers(text, count)
    return None if numbers is None or numbers.size != count else numbers.reshape(-1)


def _flat(found: Any, shape: tuple[int, ...], at: str) -> list[Any]:
    """The elements of an array that is flat, or nested as its shape is."""
    flat: list[Any] = found
    nested = len(shape) == 2 and len(flat) == shape[0] and set(map(type, flat)) == {list}
    if nested and set(map(len, flat)) == {shape[1]}:
        flat = list(chain.from_iterable(flat))
    if len(flat) != math.prod(shape):
        raise _miscounted(math.prod(shape), at)
    return flat


def _whole(flat: list[Any], kind: Kind, at: str) -> NDArray[Any]:
    if kind == "boolean":
        return np.array(flat, dtype=np.bool_)
    if min(flat) < -(2**63) or max(flat) >= 2**64:
        raise _wrong(f"{at}.data", "holds a whole number out of range")
    return np.array(flat, dtype=np.float64 if max(flat) >= 2**63 else np.int64)
