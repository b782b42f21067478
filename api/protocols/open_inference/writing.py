"""Answers and errors in the form of the Open Inference Protocol.

Between a predictor's answer and the client: what each output says of itself, and its data as it was
wanted, in the JSON or behind it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.predict.forms import JSON, Written
from api.protocols import sentences
from wire import errors, frames

OCTETS: Final = b"application/octet-stream"
"""The content type of an answer with binary tensors, as Triton has it."""
STATUSES: Final = {422: 400}
"""The protocol knows no 422."""
ERROR_SCHEMA: Final = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
"""What an error looks like."""
_LENGTH = b"inference-header-content-length"
_quoted = msgspec.json.Encoder().encode


def answer(asked: Asked, answer: Answer) -> Written:
    """The whole body. Raises errors.InternalError where the outputs are not those that were asked for."""
    if [each.name for each in answer.outputs] != [each.name for each in asked.outputs]:
        raise errors.InternalError("an answer with other outputs")
    data = frames.split(answer.members, answer.outputs)
    outputs, tail = [], []
    for wanted, output, piece in zip(asked.outputs, answer.outputs, data, strict=True):
        head = f'{{"name":"{output.name}","datatype":"{output.datatype}","shape":{list(output.shape)},'.encode()
        if wanted.form == "raw":
            tail.append(piece)
            outputs.append(b'%b"parameters":{"binary_data_size":%d}}' % (head, len(piece)))
        else:
            outputs.append(b"".join((head, b'"data":', piece, b"}")))
    head = f'{{"model_name":"{asked.model}","model_version":"{answer.version}",'.encode()
    if asked.note is not None:
        head += b'"id":%b,' % _quoted(asked.note)
    text = b'%b"outputs":[%b]}' % (head, b",".join(outputs))
    if not tail:
        return Written(JSON, text)
    return Written(OCTETS, b"".join((text, *tail)), ((_LENGTH, b"%d" % len(text)),))


def refusal(error: errors.WarrenError) -> Written:
    """``{"error": "…"}``."""
    return Written(JSON, msgspec.json.encode({"error": sentences.of(error)}))
