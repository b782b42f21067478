"""Answers batches with too little memory for one of their requests, or for all of them at once, as a predictor does.

Run as ``python -m tests.unit.predictor.short_of_room FOLDER``. Says as one JSON list what became of each batch: an
error's code or the number of rows for each request, or the code that the whole batch ended with.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika

from predictor.batches import Batches
from predictor.references import References
from predictor.registry import Registry
from tests.unit.predictor.artefacts import Shelf, regression
from tests.unit.predictor.loading import soon
from tests.unit.predictor.short_of_memory import private_bytes
from wire import errors, frames
from wire.requests import Request

MIB = 2**20
_MORE_BYTES = 24 * MIB
"""Beyond what the process has."""
_MANY = MIB // 2
"""Rows of two numbers of which one request fits into that, and two do not."""

Asked = tuple[frames.BatchItem, bytes]


def tensor(datatype: str, rows: int, data: bytes, form: frames.Form) -> Asked:
    """A request of one tensor of two columns."""
    described = frames.Tensor("x", datatype, (rows, 2) if datatype else (), len(data), form)
    return frames.BatchItem(len(data), 60_000, encoding="tensors", tensors=(described,)), data


def binary(rows: int) -> Asked:
    """Two bytes a row, which decoded are 16."""
    return tensor("UINT8", rows, bytes(2 * rows), "raw")


def whole(encoding: frames.Encoding, body: bytes) -> Asked:
    """A request that is no tensor."""
    return frames.BatchItem(len(body), 60_000, encoding=encoding), body


def batches() -> list[list[Asked]]:
    """Each with small requests that need next to nothing."""
    small, plain = binary(3), whole("json", b"[[1,2],[3,4]]")
    cells = b"[" + b"[0,null]," * _MANY + b"[0,0]]"
    return [
        [small, binary(8 * _MANY), small],
        [small, tensor("INT64", _MANY + 1, cells, "json"), small],
        [small, tensor("", 0, cells, "json"), small],
        [small, whole("split", b'{"columns":["b","a"],"data":' + cells + b"}"), small],
        [small, whole("csv", b"a,b\n" + b"1,2\n" * _MANY), small],
        [plain, whole("json", cells), plain],
        [binary(_MANY), binary(_MANY)],
        [binary(_MANY)],
        [small, plain],
    ]


def main() -> None:
    """Answer and tell."""
    shelf = Shelf.make(Path(sys.argv[1]))
    shelf.publish(regression())
    references = References(shelf.volume, Registry(shelf.volume, shelf.verifier, 10**8), remote=False)
    references.resolve("m", 0, "", soon())
    answering = Batches(references, max_rows=10**8)
    told: list[Any] = []
    for batch in batches():
        body = frames.encode(
            frames.BatchHeader("m", tuple(item for item, _ in batch), schema=frames.SCHEMA_ENCODINGS),
            [data for _, data in batch],
        )
        resource.setrlimit(resource.RLIMIT_DATA, (private_bytes() + _MORE_BYTES, resource.RLIM_INFINITY))
        told.append(_answered(answering, body))
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps(told), file=sys.__stdout__)


def _answered(answering: Batches, body: bytes) -> Sequence[Any] | str:
    sent: list[bytes] = []
    method = SimpleNamespace(delivery_tag=1, redelivered=False)
    properties = pika.BasicProperties(type=frames.BATCH_TYPE)
    request = Request(None, SimpleNamespace(), method, properties, body)  # type: ignore[arg-type]
    request.reply_raw = lambda reply, kind: sent.append(reply)  # type: ignore[method-assign,assignment]
    try:
        answering.handle(request)
    except errors.WarrenError as error:
        return error.code
    return [item.error.code if item.error else item.rows for item in frames.decode_reply(sent[0])[0].items]


if __name__ == "__main__":
    main()
