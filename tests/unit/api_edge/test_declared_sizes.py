"""A replica takes no memory for what a body says that it holds, whichever way it says so."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from api.predict.envelope import Asked
from api.protocols.open_inference import reading
from api.protocols.open_inference_grpc import framing
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from api.protocols.open_inference_grpc.infer import MODEL_INFER
from wire import datatypes, errors, frames

HUGE = 2**31 - 1
SHAPES = [(1, HUGE), (10_000, HUGE), (10_000,), (10_000, 10_000)]


def check_small(read: Callable[[], Any], *refusals: type[errors.WarrenError]) -> None:
    """Reading ends, in one of these ways where there are any, and takes little memory meanwhile."""
    tracemalloc.start()
    try:
        if refusals:
            with pytest.raises(refusals):
                read()
        else:
            read()
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def infer(shape: tuple[int, ...], datatype: str, length: str | None, **members: Any) -> reading.Request:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, **members}
    body = json.dumps({"inputs": [tensor]}).encode()
    given = None if length is None else (length or str(len(body))).encode()
    return reading.read(body, given, 10_000)


@pytest.mark.parametrize("datatype", sorted(datatypes.DATATYPES))
def test_a_shape_passes_without_its_data_and_a_size_does_not(datatype: str) -> None:
    for shape in SHAPES:
        check_small(lambda shape=shape: infer(shape, datatype, None, data=[1]))  # type: ignore[misc]
        check_small(lambda shape=shape: infer(shape, datatype, None, data=[[1], [1, 2]]))  # type: ignore[misc]
        for size in (1, HUGE, 2**62, 2**200):
            given = {"binary_data_size": size}
            check_small(
                lambda shape=shape, given=given: infer(shape, datatype, "", parameters=given),  # type: ignore[misc]
                errors.MalformedBody,
            )
    for length in ("9999999999", "9" * 400):
        check_small(lambda length=length: infer((1,), datatype, length, data=[1]), errors.MalformedBody)  # type: ignore[misc]


def model_infer(shape: tuple[int, ...], datatype: str, raw: bytes | None = None, **contents: Any) -> Asked:
    message = messages.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype=datatype, shape=shape, contents=contents or None)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return MODEL_INFER.read(framing.body(message.SerializeToString()), {}, 10_000)


@pytest.mark.parametrize("datatype", sorted(datatypes.DATATYPES))
def test_a_shape_of_typed_contents_is_compared_and_one_of_raw_contents_passes_without_them(datatype: str) -> None:
    for shape, field in itertools.product(SHAPES, ("bool", "int", "int64", "uint", "uint64", "fp32", "fp64")):
        typed = {f"{field}_contents": [1]}
        check_small(lambda shape=shape, typed=typed: model_infer(shape, datatype, **typed), errors.BadInput)  # type: ignore[misc]
    for shape in SHAPES:
        check_small(lambda shape=shape: model_infer(shape, datatype, bytes_contents=[b"x"]), errors.BadInput)  # type: ignore[misc]
        check_small(lambda shape=shape: model_infer(shape, datatype, raw=b"12345678"))  # type: ignore[misc]


@pytest.mark.parametrize("tag", [0x0A, 0x2A, 0x3A])
def test_a_length_within_a_message_is_not_believed(tag: int) -> None:
    hostile = bytes([tag]) + b"\xff\xff\xff\xff\x07" + b"x"
    check_small(lambda: MODEL_INFER.read(framing.body(hostile), {}, 10_000), errors.MalformedBody)
    frame = b"\x00\xff\xff\xff\xff" + b"x"
    check_small(lambda: MODEL_INFER.read(frame, {}, 10_000), errors.MalformedBody)


def test_sizes_within_a_frame_are_not_believed() -> None:
    tensor = frames.Tensor("x", "FP64", (10_000, HUGE), HUGE, "raw")
    item = frames.BatchItem(2**62, 1_000, encoding="tensors", tensors=(tensor,))
    for header in (
        frames.BatchHeader("m", (item,), schema=frames.SCHEMA_ENCODINGS),
        frames.BatchHeader("m", (frames.BatchItem(-1, 1_000), frames.BatchItem(3, 1_000))),
    ):
        body = frames.encode(header, [b"12"])
        check_small(lambda body=body: frames.decode_batch(body), errors.MalformedBody)  # type: ignore[misc]
    check_small(lambda: frames.decode_batch(b"\xff\xff\xff\xff{}"), errors.MalformedBody)
    check_small(lambda: frames.split(memoryview(b"12345678"), (tensor,)), errors.MalformedBody)
