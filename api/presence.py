"""Whether anybody serves a queue, asked of the broker at most twice a second.

Between the routes and an RPC: a queue without consumers accepts messages all the same, and the
caller would learn nothing until its deadline. So whoever asks looks here first.
"""

from __future__ import annotations

import asyncio
import time

from wire import errors
from wire.async_client import AsyncRpcClient

MAX_AGE_S = 0.5
"""Seconds an answer of the broker is believed."""


class Consumers:
    """Consumer counts of queues, cached. For one event loop."""

    def __init__(self, rpc: AsyncRpcClient) -> None:
        """``rpc`` asks the broker."""
        self._rpc = rpc
        self._known: dict[str, tuple[float, int]] = {}
        self._looks: dict[str, asyncio.Task[int]] = {}
        self._turn = asyncio.Lock()

    async def count(self, queue: str) -> int:
        """How many consumers a queue has, or had MAX_AGE_S ago. Raises errors.BrokerUnavailable."""
        known = self._fresh(queue)
        if known is not None:
            return known
        if queue not in self._looks:
            self._looks[queue] = asyncio.create_task(self._look(queue))
        # Who stops waiting ends no look: the next one would be given the answer to it.
        return await asyncio.shield(self._looks[queue])

    async def require(self, queue: str) -> None:
        """Return when somebody serves a queue. Raises errors.Unroutable, errors.BrokerUnavailable."""
        if not self._rpc.connected:
            raise errors.BrokerUnavailable
        if not await self.count(queue):
            raise errors.Unroutable

    async def _look(self, queue: str) -> int:
        try:
            async with self._turn:
                found = (await self._rpc.queue_state(queue)).consumers
            self._known[queue] = (time.monotonic(), found)
            return found
        finally:
            del self._looks[queue]

    def _fresh(self, queue: str) -> int | None:
        known = self._known.get(queue)
        return known[1] if known and time.monotonic() - known[0] < MAX_AGE_S else None
