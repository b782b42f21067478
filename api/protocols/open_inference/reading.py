"""A request of the Open Inference Protocol, read without decoding its tensors.

Between the form of the call and the batches: bytes come in, out go what each tensor says of itself and
the data of all of them, in order. Whether the data fits is for the predictor to find, where NumPy is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from api import bodies
from api.protocols import json_rows
from wire import datatypes, errors, frames

HEADER_LENGTH: Final = b"inference-header-content-length"
"""The header that says where binary tensors begin (Triton's extension): the length of the JSON before them."""

_MAX_ID = 1024
_Size = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": 2**31 - 1})]

_NOT_OFFERED = {
    "classification": "the classification extension is not offered; ask for predict_proba",
    "shared_memory_region": "shared memory is not offered; send the data in the body",
}


class Input(msgspec.Struct):
    """A tensor as it is sent; ``data`` is flat or nested, row-major, and absent where it follows in binary."""

    name: Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": json_rows.MAX_NAME})]
    shape: Annotated[list[_Size], msgspec.Meta(extra_json_schema={"minItems": 1, "maxItems": 2})]
    datatype: Annotated[str, msgspec.Meta(extra_json_schema={"enum": sorted(datatypes.DATATYPES)})]
    data: msgspec.Raw = msgspec.field(default_factory=lambda: json_rows.ABSENT)
    parameters: dict[str, Any] | None = None


class WantedOutput(msgspec.Struct):
    """An output that is asked for: ``predict`` or ``predict_proba``."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """The JSON of a request. Members that are not known are ignored, as the protocol has it."""

    inputs: list[Input]
    id: Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": _MAX_ID})] | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[WantedOutput] | None = None


class Request(NamedTuple):
    """What is asked: tensors with their data one after the other, outputs, and an upper bound of the rows."""

    tensors: tuple[frames.Tensor, ...]
    data: bytes | memoryview
    outputs: tuple[frames.Wanted, ...]
    rows: int
    id: str | None


_decoder = msgspec.json.Decoder(InferRequest)
_OUTPUTS: dict[str, frames.OutputName] = {"predict": "predict", "predict_proba": "predict_proba"}


def read(raw: bytes, header_length: bytes | None, max_rows: int) -> Request:
    """Read a body. Raises errors.MalformedBody, errors.BadInput and errors.TooLarge."""
    head, tail = _parts(raw, header_length)
    request = json_rows.envelope(head, _decoder, InferRequest)
    check_id(request.id or "")
    check_count(len(request.inputs))
    tensors = tuple(_tensor(each, at) for at, each in enumerate(request.inputs))
    bodies.check_around(head, [memoryview(each.data) for each in request.inputs])
    rows = check_rows(tensors, max_rows)
    data = _data(request.inputs, tensors, tail)
    return Request(tensors, data, _wanted(request), rows, request.id)


def _parts(raw: bytes, header_length: bytes | None) -> tuple[bytes, memoryview]:
    """The JSON of a body, and the binary data behind it."""
    if header_length is None:
        return raw, memoryview(b"")
    text = header_length.strip()
    if not text.isdigit() or len(text) > 10 or int(text) > len(raw):
        raise errors.MalformedBody("Inference-Header-Content-Length is not the length of the body's JSON.")
    length = int(text)
    return raw[:length], memoryview(raw)[length:]


def check_id(given: str) -> None:
    """Check the request's own id, which is kept for its answer. Raises errors.BadInput."""
    if len(given) > _MAX_ID:
        raise json_rows.wrong("id", f"must have at most {_MAX_ID} characters")


def check_count(inputs: int) -> None:
    """Check how many tensors there are. Raises errors.BadInput."""
    if not 1 <= inputs <= json_rows.MAX_TENSORS:
        raise json_rows.wrong("inputs", f"must hold from 1 to {json_rows.MAX_TENSORS} tensors")


def check_rows(tensors: Sequence[frames.Tensor], max_rows: int) -> int:
    """An upper bound of the rows. Raises errors.TooLarge."""
    rows = max(tensor.shape[0] for tensor in tensors)
    if rows > max_rows:
        raise errors.TooLarge(f"A prediction may have at most {max_rows} rows.")
    return rows


def check_tensor(name: str, shape: Sequence[int], datatype: str, at: int) -> None:
    """Check what the tensor at this place of the inputs says of itself. Raises errors.BadInput."""
    if not 1 <= len(shape) <= 2 or min(shape) < 1 or max(shape) >= 2**31:
        raise json_rows.wrong(f"inputs[{at}].shape", "must be [rows] or [rows, columns], with at least one of each")
    if len(name) > json_rows.MAX_NAME:
        raise json_rows.wrong(f"inputs[{at}].name", "is too long for the name of a column")
    if datatype not in datatypes.DATATYPES:
        raise json_rows.wrong(f"inputs[{at}].datatype", f"must be one of {', '.join(sorted(datatypes.DATATYPES))}")


def _tensor(given: Input, at: int) -> frames.Tensor:
    shape = given.shape
    check_tensor(given.name, shape, given.datatype, at)
    size_bytes = _binary_size(given, at)
    if size_bytes is None:
        data = memoryview(given.data)
        if bytes(data[:1]) != b"[":
            raise json_rows.wrong(f"inputs[{at}].data", "must be an array, or be left out where the data is binary")
        return frames.Tensor(given.name, given.datatype, tuple(shape), len(data))
    return frames.Tensor(given.name, given.datatype, tuple(shape), size_bytes, "raw")


def _binary_size(given: Input, at: int) -> int | None:
    """The bytes of a binary tensor; None where its data is in the JSON."""
    parameters = given.parameters or {}
    check_offered(parameters, f"inputs[{at}].parameters")
    if "binary_data_size" not in parameters:
        return None
    size_bytes = parameters["binary_data_size"]
    if type(size_bytes) is not int or size_bytes < 0 or bytes(given.data):
        raise json_rows.wrong(
            f"inputs[{at}].parameters.binary_data_size", "must be a number of bytes, and data be left out"
        )
    return size_bytes


def check_offered(parameters: Mapping[str, Any], at: str) -> None:
    """Check that no extension is asked for that is not offered. Raises errors.BadInput."""
    for name, problem in _NOT_OFFERED.items():
        if name in parameters:
            raise json_rows.wrong(f"{at}.{name}", problem)


def _data(inputs: Sequence[Input], tensors: Sequence[frames.Tensor], tail: memoryview) -> bytes | memoryview:
    """The data of all tensors, one after the other."""
    if sum(tensor.size_bytes for tensor in tensors if tensor.form == "raw") != len(tail):
        raise errors.MalformedBody("The sizes of the binary tensors do not add up to the bytes behind the JSON.")
    if all(tensor.form == "raw" for tensor in tensors):
        return tail
    pieces, start = [], 0
    for given, tensor in zip(inputs, tensors, strict=True):
        if tensor.form == "raw":
            pieces.append(tail[start : start + tensor.size_bytes])
            start += tensor.size_bytes
        else:
            pieces.append(memoryview(given.data))
    return b"".join(pieces)


def _wanted(request: InferRequest) -> tuple[frames.Wanted, ...]:
    """The outputs that are asked for; without any the labels or values alone, as scikit-learn's servers have it."""
    all_raw = (request.parameters or {}).get("binary_data_output", False)
    if not request.outputs:
        return (frames.Wanted("predict", "raw" if all_raw is True else "json"),)
    wanted: list[frames.Wanted] = []
    for at, each in enumerate(request.outputs):
        name = output_name(each.name, wanted, at)
        parameters = each.parameters or {}
        check_offered(parameters, f"outputs[{at}].parameters")
        raw = parameters.get("binary_data", all_raw)
        wanted.append(frames.Wanted(name, "raw" if raw is True else "json"))
    return tuple(wanted)


def output_name(name: str, before: Sequence[frames.Wanted], at: int) -> frames.OutputName:
    """The output that is asked for by this name, and was not ``before``. Raises errors.BadInput."""
    found = _OUTPUTS.get(name)
    if found is None or found in [one.name for one in before]:
        raise json_rows.wrong(f"outputs[{at}].name", "must be predict or predict_proba, each at most once")
    return found
