"""When live predictions come: what bulk work looks at before every part of it.

Between the predict queue's handlers, which tell of every delivery, and ``predictor.bulk``, which goes on
only while none is here and none came in the last moments.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from wire.deadlines import Deadline

RECENT_S: Final = 1.0
"""Seconds after a live delivery in which bulk work leaves most of the time to others."""
REST: Final = 8.0
"""Seconds of rest for each second of work then: what a part costs here, the worker and the broker pay again, and
on two cores live predictions would wait for all of them."""

_STEP_S: Final = 0.002


class LiveTraffic:
    """Notes live deliveries. For any number of threads."""

    def __init__(self, quiet_s: float, patience_s: float, pause: Callable[[float], object] = time.sleep) -> None:
        """``quiet_s``: seconds without a delivery that count as quiet; ``patience_s``: longest wait for it."""
        self._quiet_s = quiet_s
        self._patience_s = patience_s
        self._pause = pause
        self._lock = threading.Lock()
        self._busy = 0
        self._arrived_at = float("-inf")

    def arrived(self) -> None:
        """A live delivery came."""
        self._arrived_at = time.monotonic()

    @contextmanager
    def working(self) -> Iterator[None]:
        """A live delivery is being worked on, until the block ends."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
            self.arrived()

    def wait_quiet(self, worked_s: float = 0.0) -> None:
        """Wait until live predictions leave room, at most for the patience.

        ``worked_s`` is what the part before took: while there is live traffic, a rest of REST times that follows it.
        """
        deadline = Deadline.after(self._patience_s)
        if time.monotonic() - self._arrived_at < RECENT_S and worked_s:
            self._pause(min(REST * worked_s, self._patience_s))
        while not deadline.expired:
            left_s = self._quiet_s - (time.monotonic() - self._arrived_at)
            if left_s <= 0 and not self._busy:
                return
            self._pause(min(max(left_s, _STEP_S), deadline.remaining_s))
