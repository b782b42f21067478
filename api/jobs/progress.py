"""Which progress of a training becomes an event: changed, never backwards, and not too often."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from wire import messages

FASTEST_S = 0.5
"""Seconds between two events at least: people do not read faster."""
SLOWDOWN_EVENTS = 200
"""Events after which the pause has doubled. The pause grows with the events written, so a
training of days has thousands of them and not hundreds of thousands."""


class Progress(msgspec.Struct, frozen=True):
    """How far a training is: ``fraction`` from 0 to 1, the stage's name, a sentence."""

    fraction: float
    stage: str
    message: str


class ProgressFilter:
    """Decides about each progress message of one attempt; ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: Progress | None = None
        self._last_at = 0.0
        self._written = 0

    def admit(self, said: messages.TrainProgress) -> Progress | None:
        """What to store now, or None: nothing new, or too soon after the last."""
        floor = self._last.fraction if self._last else 0.0
        now = Progress(min(1.0, max(floor, said.fraction)), said.stage, said.message)
        pause_s = FASTEST_S * (1 + self._written / SLOWDOWN_EVENTS)
        if self._last is not None and (now == self._last or self._clock() - self._last_at < pause_s):
            return None
        self._last, self._last_at = now, self._clock()
        self._written += 1
        return now

    def forget(self) -> None:
        """The last one could not be stored: let the next one through."""
        self._last_at = float("-inf")
        if self._last is not None:
            self._last = msgspec.structs.replace(self._last, stage="")
