"""A thread that does one thing again and again until it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from wire import errors, logs


class Repeating:
    """Calls ``action`` every ``interval_s`` seconds; an error is logged and the next turn comes."""

    def __init__(self, name: str, interval_s: float, action: Callable[[], object]) -> None:
        self._action = action
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._name = name
        self.done_at = time.monotonic()

    def start(self) -> None:
        """Begin; the first turn is at once."""
        self._thread.start()

    def stop(self, wait_s: float) -> None:
        """No further turn; wait at most ``wait_s`` seconds for the present one."""
        self._stop.set()
        self._thread.join(wait_s)

    @property
    def idle_s(self) -> float:
        """Seconds since a turn last went well."""
        return time.monotonic() - self.done_at

    def _run(self) -> None:
        while True:
            try:
                self._action()
                self.done_at = time.monotonic()
            except errors.NotAnswered as error:
                logs.log("maintenance.failed", level="WARNING", what=self._name, error=error.code)
            except Exception:
                # A defect in one turn must not end all turns: without a reaper no lost job comes back.
                logs.log("maintenance.failed", level="ERROR", what=self._name, exc_info=True)
            if self._stop.wait(self._interval_s):
                return
