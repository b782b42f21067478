"""The thread that owns a service's connections: beneath the clients and servers that use threads.

Comes in: coroutines and callbacks from any thread. Goes out: their results, run on one event
loop in one thread, which does nothing else: pika breaks when two threads use a connection, and
computing in its thread loses the heartbeats.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from wire import errors

T = TypeVar("T")


class IoThread:
    """An event loop in a daemon thread; it runs from construction until ``stop``."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def here(self) -> bool:
        """Whether the caller runs on this thread."""
        return threading.get_ident() == self._thread.ident

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run a coroutine there and wait for it here.

        Raises what it raises, and DeadlineExceeded when that takes longer than ``timeout_s``.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError as error:
            future.cancel()
            raise errors.DeadlineExceeded from error

    def soon(self, callback: Callable[[], object]) -> None:
        """Run a callback there, soon; after ``stop`` it is dropped."""
        # The loop raises RuntimeError once it is closed, and only then.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback)

    def stop(self) -> None:
        """End the loop and the thread; returns when both are gone."""
        self.soon(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()
