"""A predictor that answers every request alike."""

from __future__ import annotations

import threading

from wire import frames, topology
from wire.memory import MemoryBroker
from wire.server import Request, RpcServer


def predictor(broker: MemoryBroker, gate: threading.Event | None = None) -> RpcServer:
    """It serves already; with a ``gate`` it answers once that is open."""

    def answer(request: Request) -> None:
        header, _ = frames.decode_batch(request.body)
        assert gate is None or gate.wait(30)
        members = b'"predictions":[1]'
        items = tuple(frames.ReplyItem(len(members), 1) for _ in header.items)
        request.reply_raw(frames.encode(frames.ReplyHeader(items, 1), [members] * len(items)), frames.REPLY_TYPE)

    server = broker.server("predictor", "predictor")
    server.serve(topology.PREDICT, answer, prefetch=8, confirmed=False)
    server.start()
    assert server.wait_ready(5)
    return server
