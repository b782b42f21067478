"""A predictor that does what the rows say: it stands on the real RPC server and wire frames.

Rows are arrays. The first cell of a request's first row may be a word:

* ``bad``: an error of this request alone;
* ``crash``: the process ends, as a poisonous row would end it.

Anything else is answered with the sum of each row, so every answer can be told from every other; a
tensor's data has to be nested JSON, or raw FP64.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Sequence
from typing import Any

from wire import errors, frames, messages, settings, topology
from wire.server import Request, RpcServer

VERSION = 7


class ScriptedPredictor:
    """One predictor; ``batches`` remembers the requests of each batch, ``gate`` holds computing back."""

    def __init__(self, broker: settings.Broker, *, threads: int = 1, prefetch: int = 2) -> None:
        self.batches: list[tuple[str, list[Any]]] = []
        self.seen = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.held_model = ""
        self.server = RpcServer(broker, "predictor", "scripted")
        self.server.serve(topology.PREDICT, self.handle, prefetch=prefetch, threads=threads)

    def start(self) -> ScriptedPredictor:
        self.server.start()
        assert self.server.wait_ready(15)
        return self

    def stop(self) -> None:
        self.gate.set()
        self.server.stop(5)

    def handle(self, request: Request) -> messages.Message | None:
        header, blobs = frames.decode_batch(request.body)
        rows = [_rows(item, bytes(blob)) for item, blob in zip(header.items, blobs, strict=True)]
        if request.redelivered:
            self._reply(request, frames.ReplyHeader(error=errors.RetryAlone().to_body()), [])
            return None
        self.batches.append((header.model, rows))
        self.seen.set()
        if self.held_model in ("", header.model):
            assert self.gate.wait(30)
        if header.model == "missing":
            self._reply(request, frames.ReplyHeader(error=errors.ModelNotFound().to_body()), [])
            return None
        answered = [self._one(one, item) for one, item in zip(rows, header.items, strict=True)]
        blobs_out = [blob for _, blob in answered]
        items = tuple(item for item, _ in answered)
        reply = frames.ReplyHeader(items, VERSION, inference_us=1500, queue_us=500, schema=header.schema)
        self._reply(request, reply, blobs_out)
        return None

    def _one(self, rows: list[list[Any]], item: frames.BatchItem) -> tuple[frames.ReplyItem, bytes]:
        word = rows[0][0] if rows and rows[0] else 0
        if word == "bad":
            problem = errors.FieldError("instances[0][0]", "must be a number")
            return frames.ReplyItem(error=errors.BadInput(errors=[problem]).to_body()), b""
        if word == "crash":
            os._exit(9)
        if item.outputs:
            sums, raw = [sum(row) for row in rows], item.outputs[0].form == "raw"
            data = struct.pack(f"<{len(sums)}q", *map(int, sums)) if raw else json.dumps(sums).encode()
            outputs = (frames.Output("predict", "INT64", (len(rows),), len(data)),)
            return frames.ReplyItem(len(data), len(rows), outputs=outputs), data
        members = '"predictions":' + json.dumps([sum(row) for row in rows])
        if item.probabilities:
            members += ',"probabilities":' + json.dumps([[0.25, 0.75] for _ in rows])
        encoded = members.encode()
        return frames.ReplyItem(len(encoded), len(rows)), encoded

    @staticmethod
    def _reply(request: Request, header: frames.ReplyHeader, blobs: Sequence[bytes]) -> None:
        request.reply_raw(frames.encode(header, blobs), frames.REPLY_TYPE)


def _rows(item: frames.BatchItem, blob: bytes) -> list[list[Any]]:
    if not item.tensors or item.tensors[0].form == "json":
        rows: list[list[Any]] = json.loads(blob)
        return rows
    count, width = item.tensors[0].shape
    return [list(struct.unpack_from(f"<{width}d", blob, 8 * width * at)) for at in range(count)]


def main(arguments: Sequence[str]) -> None:
    """A predictor as a process of its own, to be killed or frozen: ``host port vhost mode``.

    In mode ``holding`` it never answers.
    """
    host, port, vhost, mode = arguments
    predictor = ScriptedPredictor(settings.Broker(host=host, port=int(port), vhost=vhost))
    if mode == "holding":
        predictor.gate.clear()
    predictor.start()
    print("ready", flush=True)  # noqa: T201 - the test waits for it
    sys.stdin.read()
    predictor.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
