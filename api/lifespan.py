"""The life of a replica: what is made before the first request, and ended after the last.

Around the application. A replica waits a moment for broker and ledger, because its port opens
afterwards; it starts without them all the same, says so at /readyz, and is ready once they are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI

from api.ledger import Ledger
from api.ledger.migrating import NewerSchema
from api.predict.coalescer import Coalescer
from api.readiness import Readiness
from api.state import State
from wire import errors, logs, telemetry
from wire.async_client import AsyncRpcClient
from wire.settings import Settings

_LONGEST_PAUSE_S = 2.0
_OPEN_WITHIN_S = 3.0
"""Seconds until a starting replica takes requests, even if all it can do is to say what is missing."""


@asynccontextmanager
async def running(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    """Make ``app.state.gateway`` and ``app.state.readiness``; end them at exit."""
    rpc = AsyncRpcClient(settings.broker, "api", settings.api.replica)
    ledger = Ledger(settings.ledger)
    coalescer = Coalescer(rpc, settings.predict)
    state = State(settings, rpc, ledger, coalescer)
    readiness = Readiness(state)
    app.state.gateway, app.state.readiness = state, readiness
    loop = asyncio.get_running_loop()
    await rpc.start()
    await coalescer.start()
    await state.keyring.start()
    migration = loop.create_task(_migrate(state))
    probes = telemetry.start_probe_server(settings.process, _probe(readiness, loop))
    forget_signal = _on_stop_signal(lambda: loop.call_soon_threadsafe(state.stopping.set))
    logs.log("process.started", metrics_port=probes.port)
    try:
        await _until_useful(state)
        yield
    finally:
        logs.log("process.stopping")
        state.stopping.set()
        forget_signal()
        migration.cancel()
        await asyncio.gather(migration, return_exceptions=True)
        await coalescer.close()
        await rpc.close()
        await state.keyring.close()
        await state.trail.close()
        await anyio.to_thread.run_sync(probes.close)
        await anyio.to_thread.run_sync(ledger.close)
        logs.log("process.stopped")


async def _until_useful(state: State) -> None:
    """Wait until a request could be answered: a replica that joins others must refuse none of theirs."""
    with anyio.move_on_after(_OPEN_WITHIN_S):
        await state.rpc.wait_connected(_OPEN_WITHIN_S)
        await state.migrated.wait()
        with contextlib.suppress(errors.LedgerUnavailable):
            await state.keyring.refresh()


async def _migrate(state: State) -> None:
    """Bring the ledger to its newest schema, for as long as that takes."""
    pause_s = 0.1
    while True:
        try:
            await anyio.to_thread.run_sync(state.ledger.migrate)
        except NewerSchema as error:
            if state.unprepared != error.message:  # once, and not with every try
                logs.log("ledger.failed", level="ERROR", problem=error.message)
            state.unprepared = error.message
        except errors.LedgerUnavailable:
            logs.log("ledger.failed", level="WARNING")
        except Exception:
            logs.log("ledger.failed", level="ERROR", exc_info=True)
        else:
            state.migrated.set()
            return
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)


def _probe(readiness: Readiness, loop: asyncio.AbstractEventLoop) -> Callable[[], dict[str, str]]:
    """Readiness for the probe's thread: what is known now, and a new look for the next time."""

    def ask() -> dict[str, str]:
        asyncio.run_coroutine_threadsafe(readiness.reasons(), loop)
        return readiness.last

    return ask


def _on_stop_signal(act: Callable[[], Any]) -> Callable[[], None]:
    """Do something as soon as the server is told to stop, before it waits for its connections.

    The server's own handler is called afterwards. Without a server (tests) nothing is installed.
    Returns what takes it back.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    servers = signal.getsignal(signal.SIGTERM)
    if not callable(servers):
        return lambda: None

    def handle(number: int, frame: Any) -> None:
        act()
        servers(number, frame)

    signal.signal(signal.SIGTERM, handle)
    return lambda: None if signal.getsignal(signal.SIGTERM) is not handle else _restore(servers)


def _restore(handler: Any) -> None:
    signal.signal(signal.SIGTERM, handler)
