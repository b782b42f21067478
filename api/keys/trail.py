"""Who changed which model, on its way into the audit log.

Between a route that has just had a model changed, and the ledger. The entry is stored before
the answer leaves. Where the ledger is away the change stands all the same (a rollback must not
wait for a database), the entry goes to the process's log, and into the ledger once that is back.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import Final

import anyio.to_thread
import msgspec

from api.keys.callers import Caller
from api.keys.making import deed
from api.ledger import rows
from api.ledger.audit import Audit
from wire import errors, logs

WAIT_S: Final = 1.0
"""Seconds an answer waits for its entry."""
MAX_PENDING: Final = 1000
"""Entries kept in memory while the ledger is away; beyond them the oldest are in the log only."""
_RETRY_S = 1.0


class Trail:
    """Writes entries; for one event loop."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._pending: deque[rows.Deed] = deque(maxlen=MAX_PENDING)
        self._writing: set[asyncio.Task[None]] = set()
        self._retrying: asyncio.Task[None] | None = None

    async def record(self, caller: Caller, action: rows.DeedKind, target: str) -> None:
        """Store that ``caller`` did this. Never raises: what was done is done."""
        task = asyncio.get_running_loop().create_task(self._write([deed(caller, action, target)]))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.wait({task}, timeout=WAIT_S)

    async def close(self) -> None:
        """Write what is left, once more; what can't be written is in the log."""
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.gather(self._retrying, return_exceptions=True)
        if self._writing:
            await asyncio.wait(self._writing, timeout=WAIT_S)
        if self._pending:
            await self._flush()

    @property
    def pending(self) -> int:
        """Entries that are not in the ledger yet."""
        return len(self._pending)

    async def _write(self, deeds: list[rows.Deed]) -> None:
        if await self._stored(deeds):
            return
        for one in deeds:
            logs.log("audit.failed", level="ERROR", entry=msgspec.to_builtins(one))
        self._pending.extend(deeds)
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.get_running_loop().create_task(self._retry())

    async def _retry(self) -> None:
        while self._pending:
            await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            await self._flush()

    async def _flush(self) -> None:
        deeds = list(self._pending)
        if await self._stored(deeds):
            written = {id(one) for one in deeds}
            left = [one for one in self._pending if id(one) not in written]
            self._pending.clear()
            self._pending.extend(left)

    async def _stored(self, deeds: list[rows.Deed]) -> bool:
        try:
            await anyio.to_thread.run_sync(self._audit.write, deeds)
        except errors.LedgerUnavailable:
            return False
        except Exception:
            logs.log("ledger.failed", level="ERROR", exc_info=True)
            return False
        return True
