"""Whether a replica can do all it is there for, and if not, what is missing.

Beside the routes: ``/readyz`` and the metrics port ask here. An answer is kept for half a
second, so that any number of probes costs two looks a second at most.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import anyio
import anyio.to_thread

from api.presence import MAX_AGE_S
from api.state import State
from wire import errors, topology

QUEUES: Final = {
    topology.PREDICT: ("predictors", "no predictor is running"),
    topology.JOBS: ("workers", "no Celery worker is running"),
    topology.CHANGES: ("trainers", "no trainer is running"),
}
"""The queues somebody must serve, with the name and the words of what is missing."""
_LEDGER_WAIT_S = 1.0


class Readiness:
    """Asks around and remembers. For one event loop; ``last`` may be read from any thread."""

    def __init__(self, state: State) -> None:
        """``state`` is the replica's."""
        self._state = state
        self._turn = asyncio.Lock()
        self._asked_at = float("-inf")
        self.last: dict[str, str] = {"replica": "is starting"}

    async def reasons(self) -> dict[str, str]:
        """What is missing, as name to reason; empty when the replica is ready."""
        if self._state.stopping.is_set():
            self.last = {"replica": "is stopping"}
            return self.last
        async with self._turn:
            if time.monotonic() - self._asked_at >= MAX_AGE_S:
                self.last = await self._ask()
                self._asked_at = time.monotonic()
        return self.last

    async def _ask(self) -> dict[str, str]:
        broker, ledger = await asyncio.gather(self._ask_broker(), self._ask_ledger())
        return {**broker, **ledger}

    async def _ask_broker(self) -> dict[str, str]:
        rpc = self._state.rpc
        if not rpc.connected:
            return {"broker": "is not connected"}
        if rpc.blocked:
            return {"broker": "takes no messages: it is short of memory or disk"}
        missing = {}
        try:
            for queue, (name, reason) in QUEUES.items():
                if not await self._state.consumers.count(queue):
                    missing[name] = reason
            if self._state.coalescer.nobody:
                # It looks for itself, and may not have seen the first one yet: who asks now would be refused.
                missing.setdefault(*QUEUES[topology.PREDICT])
        except errors.BrokerUnavailable:
            return {"broker": "does not answer"}
        return missing

    async def _ask_ledger(self) -> dict[str, str]:
        if not self._state.migrated.is_set():
            return {"ledger": self._state.unprepared}
        try:
            with anyio.fail_after(_LEDGER_WAIT_S):
                await anyio.to_thread.run_sync(self._state.ledger.ping, abandon_on_cancel=True)
        except (errors.LedgerUnavailable, TimeoutError):
            return {"ledger": "does not answer"}
        return {}
