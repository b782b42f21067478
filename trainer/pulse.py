"""The pulse of a training: where it is, said when it moves and repeated while it does not.

From the training's thread to the worker that asked. The worker counts a trainer as lost after
some silence, so every phase that may be long runs under a pulse.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from wire import messages

MIN_GAP_S = 0.2
"""Seconds between two messages at least, unless the stage changes: the ledger need not know more."""


class Pulse:
    """Sends TrainProgress through ``send``; use it as a context, which ends the repeating."""

    def __init__(self, job_id: str, alive_s: float, send: Callable[[messages.TrainProgress], None]) -> None:
        self._alive_s = alive_s
        self._send = send
        self._lock = threading.Lock()
        self._last = messages.TrainProgress(job_id=job_id, fraction=0.0, stage="")
        self._sent_at = 0.0
        self._due = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def say(self, fraction: float, stage: str, message: str = "") -> None:
        """The training is here now; a fraction below the last one counts as that one."""
        with self._lock:
            moved = stage != self._last.stage
            fraction = min(1.0, max(fraction, self._last.fraction))
            self._last = messages.TrainProgress(
                job_id=self._last.job_id, fraction=fraction, stage=stage, message=message
            )
            self._due = True
            if moved or time.monotonic() - self._sent_at >= MIN_GAP_S:
                self._send_last()

    @property
    def fraction(self) -> float:
        """How far it was said to be."""
        return self._last.fraction

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(MIN_GAP_S):
            with self._lock:
                if self._last.stage and (self._due or time.monotonic() - self._sent_at >= self._alive_s - MIN_GAP_S):
                    self._send_last()

    def _send_last(self) -> None:
        self._sent_at, self._due = time.monotonic(), False
        self._send(self._last)
