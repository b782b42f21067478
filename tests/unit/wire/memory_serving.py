"""A server on the broker in memory."""

from __future__ import annotations

from typing import Any

from wire import topology
from wire.memory import MemoryBroker
from wire.server import RpcServer


def serving(memory: MemoryBroker, handler: Any, queue: str = topology.PREDICT, prefetch: int = 1) -> RpcServer:
    server = memory.server("predictor", "server")
    server.serve(queue, handler, prefetch=prefetch)
    server.start()
    assert server.wait_ready(5)
    return server
