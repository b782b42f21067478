"""Whether anybody serves a queue: what one caller learns, and what the next one does."""

from __future__ import annotations

import asyncio

import pytest

from api.presence import Consumers
from wire import messages, topology
from wire.memory import MemoryBroker


async def test_who_stops_waiting_takes_no_answer_from_those_who_ask_of_another_queue() -> None:
    memory = MemoryBroker()
    server = memory.server("predictor", "one")
    server.serve(topology.MODELS, lambda _request: messages.ModelList(models=()), prefetch=1)
    server.start()
    assert server.wait_ready(5)
    rpc = memory.async_client("api", "api")
    await rpc.start()
    assert await rpc.wait_connected(5)
    consumers = Consumers(rpc)
    memory.freeze()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await consumers.count(topology.MODELS)
    others = asyncio.gather(consumers.count(topology.CHANGES), consumers.count(topology.MODELS))
    await asyncio.sleep(0)
    memory.thaw()
    assert list(await others) == [0, 1]
    await rpc.close()
    await asyncio.to_thread(server.stop, 5)
