"""A ModelInferRequest, read into what a prediction asks for.

Between the form of the call and the batches. Every tensor travels raw: raw contents as they came, typed
ones as the same bytes, so that a predictor reads what it reads of the protocol over HTTP.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from api.protocols import json_rows
from api.protocols.open_inference import reading
from api.protocols.open_inference_grpc import contents
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from wire import errors, frames

M = TypeVar("M", bound=Message)


class Note(NamedTuple):
    """What is needed again for the answer: the request's own id, and whether its contents were typed."""

    id: str
    typed: bool


def parse(message: M, raw: memoryview) -> M:
    """An empty message, filled. Raises errors.MalformedBody."""
    try:
        message.ParseFromString(bytes(raw))
    except DecodeError:
        kind = message.DESCRIPTOR.name
        raise errors.MalformedBody(f"The message is not a {kind} of the Open Inference Protocol.") from None
    return message


def read(message: messages.ModelInferRequest, max_rows: int) -> reading.Request:
    """Tensors, data and wanted outputs. Raises errors.BadInput and errors.TooLarge."""
    reading.check_id(message.id)
    reading.check_count(len(message.inputs))
    reading.check_offered(message.parameters, "parameters")
    given = message.raw_input_contents
    if given and len(given) != len(message.inputs):
        raise json_rows.wrong(
            "raw_input_contents", f"must have an element for each of the {len(message.inputs)} inputs"
        )
    tensors, pieces = [], []
    for at, each in enumerate(message.inputs):
        reading.check_tensor(each.name, each.shape, each.datatype, at)
        reading.check_offered(each.parameters, f"inputs[{at}].parameters")
        piece = _raw(each, given[at], at) if given else _typed(each, at)
        tensors.append(frames.Tensor(each.name, each.datatype, tuple(each.shape), len(piece), "raw"))
        pieces.append(piece)
    rows = reading.check_rows(tensors, max_rows)
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return reading.Request(tuple(tensors), data, _wanted(message), rows, message.id)


def _raw(given: messages.ModelInferRequest.InferInputTensor, data: bytes, at: int) -> bytes:
    if given.contents.ByteSize():
        raise json_rows.wrong(f"inputs[{at}].contents", "must be left out where raw_input_contents has the data")
    return data


def _typed(given: messages.ModelInferRequest.InferInputTensor, at: int) -> bytes:
    return contents.raw(given.contents, given.datatype, given.shape, f"inputs[{at}].contents")


def _wanted(message: messages.ModelInferRequest) -> tuple[frames.Wanted, ...]:
    """The outputs that are asked for; without any ``predict`` alone, as over HTTP."""
    wanted: list[frames.Wanted] = []
    for at, each in enumerate(message.outputs):
        reading.check_offered(each.parameters, f"outputs[{at}].parameters")
        wanted.append(frames.Wanted(reading.output_name(each.name, wanted, at), "raw"))
    return tuple(wanted) or (frames.Wanted("predict", "raw"),)
