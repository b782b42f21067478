"""Refuses an ONNX file that points at other files, before onnxruntime sees a byte of it.

A tensor of an ONNX model may say that its data lies in a file beside the model, and
onnxruntime would open that path. A graph of ours has everything inside, so any tensor with
``external_data`` (field 13 of TensorProto) or a ``data_location`` (field 14) is an attack or a
mistake. Source of the field numbers: onnx/onnx-ml.proto; of the wire types: Protocol Buffers'
encoding guide. The ``onnx`` package is not needed for this, so predictors go without it.
"""

from __future__ import annotations

import re

from model_store import errors

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 16

# Message kinds, and which of their fields hold which kind of message.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_FORBIDDEN = {"tensor": (13, 14)}

# Long runs of an attribute's numbers (floats: field 7, ints: field 8) and of the two node modes
# of a tree (strings: field 9) are skipped at the speed of the regular expression engine.
_RUN = re.compile(
    rb"(?:\x3d.{4}){1,4096}+|(?:\x40[\x80-\xff]{0,9}[\x00-\x7f]){1,4096}+|(?:\x4a\x0aBRANCH_LEQ|\x4a\x04LEAF){1,4096}+",
    re.DOTALL,
)


def refuse_external_data(data: bytes) -> None:
    """Walk the whole model. Raises errors.Corrupt when a tensor's data lies outside, or the bytes are no model."""
    try:
        _walk(data, 0, len(data), "model", 0)
    except IndexError as error:
        raise errors.Corrupt("the graph cannot be read") from error


def _walk(data: bytes, at: int, end: int, kind: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise errors.Corrupt("the graph is nested too deeply")
    children, forbidden = _MESSAGES[kind], _FORBIDDEN.get(kind, ())
    while at < end:
        if kind == "attribute" and (run := _RUN.match(data, at, end)):
            at = run.end()
            continue
        tag, at = _varint(data, at)
        field, wire_type = tag >> 3, tag & 7
        if field in forbidden:
            raise errors.Corrupt("the graph points at data outside of itself")
        begin, at = _skip(data, at, wire_type)
        if at > end:
            raise errors.Corrupt("the graph cannot be read")
        if field in children:
            _walk(data, begin, at, children[field], depth + 1)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise errors.Corrupt("the graph cannot be read")


def _skip(data: bytes, at: int, wire_type: int) -> tuple[int, int]:
    """Where the field's content begins and ends."""
    if wire_type == _VARINT:
        return at, _varint(data, at)[1]
    if wire_type == _BYTES:
        size, at = _varint(data, at)
        return at, at + size
    if wire_type in (_FIXED64, _FIXED32):
        return at, at + (8 if wire_type == _FIXED64 else 4)
    raise errors.Corrupt("the graph cannot be read")
