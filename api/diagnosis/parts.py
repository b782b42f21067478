"""What a replica can see by itself: itself, the broker and its queues, the ledger, the datasets folder.

Between a replica's state and the checks of a diagnosis.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import anyio.to_thread

from api.datasets.storing import folder_of
from api.diagnosis.checks import Check, room
from api.state import State
from wire import build, topology
from wire.async_client import QueueState

SERVED: Final = {
    topology.PREDICT: ("predictors", "predictor"),
    topology.MODELS: ("predictors for reads", "predictor"),
    topology.BULK: ("predictors for datasets", "predictor"),
    topology.JOBS: ("workers", "worker"),
    topology.TRAIN: ("trainers", "trainer"),
    topology.INSPECT: ("trainers for uploads", "trainer"),
    topology.CHANGES: ("trainers for changes", "trainer"),
}
"""The queues somebody must serve: what a check is called, and which process is missing where nobody does."""
SLOW_MS: Final = 250.0
"""Milliseconds the ledger may take for nothing at all before it is worth a warning."""


async def replica(state: State, *, forwarded: bool) -> list[Check]:
    """This replica, and whether the question came through Nginx."""
    settings = state.settings.api
    keys = "needed" if settings.keys == "required" else "not needed: only this machine can call"
    found = [Check("replica", "ok", f"{settings.replica} answers, code {build.BUILD}; keys are {keys}")]
    if forwarded:
        found.append(Check("nginx", "ok", "this question came through it"))
    else:
        mend = "Ask Nginx's port: limits and balancing are there."
        found.append(Check("nginx", "warning", "this question came past it, so it was not looked at", mend))
    return found


async def broker(state: State) -> list[Check]:
    """The connection, and who serves each queue."""
    rpc = state.rpc
    if not rpc.connected:
        return [Check("broker", "failed", "is not connected", "Start RabbitMQ, or mend WARREN_BROKER__HOST and PORT.")]
    if rpc.blocked:
        mend = "Free memory or disk on the broker's machine; it goes on by itself."
        return [Check("broker", "failed", "takes no messages: it is short of memory or disk", mend)]
    seen = {queue: await rpc.queue_state(queue) for queue in SERVED}
    return [Check("broker", "ok", "is connected and takes messages"), *(_served(queue, seen) for queue in SERVED)]


def _served(queue: str, seen: Mapping[str, QueueState]) -> Check:
    name, process = SERVED[queue]
    waiting = f"{seen[queue].messages} messages wait"
    if seen[queue].consumers:
        return Check(name, "ok", f"{seen[queue].consumers} serve {queue}, {waiting}")
    if queue == topology.TRAIN and seen[topology.CHANGES].consumers:
        # A trainer takes no second training while it has one.
        return Check(name, "ok", f"all are training, {waiting}")
    mend = f"Start a {process}; its log says why it is not there (make status, make logs)."
    return Check(name, "failed", f"nobody serves {queue}, {waiting}", mend)


async def ledger(state: State) -> list[Check]:
    """Whether it answers, how fast, and whether its schema is the one that this code wants."""
    if not state.migrated.is_set():
        mend = "Look for ledger.failed in this replica's log."
        return [Check("ledger", "failed", state.unprepared, mend)]
    began = time.monotonic()
    await anyio.to_thread.run_sync(state.ledger.ping, abandon_on_cancel=True)
    took_ms = (time.monotonic() - began) * 1000
    present, newest = await anyio.to_thread.run_sync(state.ledger.revisions, abandon_on_cancel=True)
    if present != newest:
        seen = f"has schema {present or 'none'}, this replica wants {newest}"
        return [Check("ledger", "failed", seen, "Replicas of two releases run; restart the older ones.")]
    seen = f"answers in {took_ms:.0f} ms, schema {present}"
    if took_ms > SLOW_MS:
        return [Check("ledger", "warning", seen, "Look at the database's load and its disk.")]
    return [Check("ledger", "ok", seen)]


async def datasets(state: State) -> list[Check]:
    """Whether uploads can be stored. Raises OSError."""
    free, size = await anyio.to_thread.run_sync(folder_of(state).room, abandon_on_cancel=True)
    mend = "Delete datasets that nobody needs, or give the folder a larger disk."
    return [room("datasets folder", free, size, "can be written to", mend)]
