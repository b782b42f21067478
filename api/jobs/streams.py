"""Event streams of jobs: what the ledger has written, from any point, as Server-Sent Events.

Between the ledger and clients that watch. Events live in the ledger, so any replica replays
them. One query per half second asks about all watched jobs together, however many clients watch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import anyio.to_thread

from api.keys.callers import Caller
from api.ledger.jobs import Jobs
from api.ledger.rows import ENDED, JobEvent
from wire import errors, logs, telemetry

POLL_S = 0.5
"""Seconds between two looks at the ledger."""
HEARTBEAT_S = 10.0
"""Seconds of silence after which a comment is sent, so that no proxy takes the stream for dead."""
LIFETIME_S = 3600.0
"""Seconds a stream lives; the client's next connection goes on behind its last event."""
BATCH = 200
"""Events read at once."""

streams_open = telemetry.gauge("event_streams_open", "Event streams this replica serves now")
"""Clients that watch jobs."""


@dataclass(eq=False)
class Watcher:
    """One client: the job it watches, the last event it has, who it is, and the bell that rings for more."""

    job_id: str
    after: int
    caller: Caller
    bell: asyncio.Event = field(default_factory=asyncio.Event)


class EventStreams:
    """All event streams of a replica."""

    def __init__(self, jobs: Jobs, limit: int, stopping: asyncio.Event, lives: Callable[[Caller], bool]) -> None:
        """``lives`` says from memory whether a caller's key still counts."""
        self._jobs = jobs
        self._limit = limit
        self._stopping = stopping
        self._lives = lives
        self._watchers: set[Watcher] = set()
        self._ticker: asyncio.Task[None] | None = None

    def open(self, job_id: str, after: int, caller: Caller) -> Watcher:
        """A place for one client, to be given back with ``close``. Raises errors.Overloaded.

        Where keys are needed an owner holds at most as many as are left free: half of them alone, and a further
        owner finds some.
        """
        held = sum(watcher.caller.owner == caller.owner for watcher in self._watchers)
        free = self._limit - len(self._watchers)
        if free < 1 or (caller.key and held and held + 1 > free - 1):
            raise errors.Overloaded("Too many event streams are open at the moment; ask for the job instead.")
        watcher = Watcher(job_id, after, caller)
        self._watchers.add(watcher)
        streams_open.set(len(self._watchers))
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._tick())
        return watcher

    def close(self, watcher: Watcher) -> None:
        """The client has gone."""
        self._watchers.discard(watcher)
        streams_open.set(len(self._watchers))

    async def frames(self, watcher: Watcher) -> AsyncIterator[bytes]:
        """The stream's bytes: every event behind ``watcher.after``, comments in between, until the
        terminal event, the end of the stream's life or of the caller's key, or the replica's stop.
        """
        yield b"retry: 1000\n\n"
        born = said = time.monotonic()
        watcher.bell.set()
        while not self._stopping.is_set() and time.monotonic() - born < LIFETIME_S:
            rings = await self._rings(watcher)
            if not self._lives(watcher.caller):
                return
            if rings:
                watcher.bell.clear()
                for event in await self._read(watcher):
                    yield frame(event)
                    watcher.after, said = event.sequence, time.monotonic()
                    if event.name in ENDED:
                        return
            if time.monotonic() - said >= HEARTBEAT_S:
                yield b": alive\n\n"
                said = time.monotonic()

    async def _read(self, watcher: Watcher) -> list[JobEvent]:
        try:
            events = await anyio.to_thread.run_sync(self._events, watcher.job_id, watcher.after)
        except errors.LedgerUnavailable:
            return []
        if len(events) == BATCH:
            watcher.bell.set()
        return events

    def _events(self, job_id: str, after: int) -> list[JobEvent]:
        return self._jobs.events(job_id, after=after, limit=BATCH)

    async def _rings(self, watcher: Watcher) -> bool:
        try:
            async with asyncio.timeout(2 * POLL_S):
                await watcher.bell.wait()
        except TimeoutError:
            return False
        return True

    async def _tick(self) -> None:
        while self._watchers and not self._stopping.is_set():
            await asyncio.sleep(POLL_S)
            asked = sorted({watcher.job_id for watcher in self._watchers})
            try:
                counts = await anyio.to_thread.run_sync(self._jobs.event_counts, asked)
            except errors.LedgerUnavailable:
                logs.log("ledger.failed", level="WARNING", streams=len(self._watchers))
                continue
            for watcher in self._watchers:
                if counts.get(watcher.job_id, 0) > watcher.after:
                    watcher.bell.set()


def frame(event: JobEvent) -> bytes:
    """One event as the stream's bytes; its data is JSON, so it has no line breaks."""
    return f"id: {event.sequence}\nevent: {event.name}\ndata: {event.data}\n\n".encode()
