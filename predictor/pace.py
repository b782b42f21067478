"""How long a version's batches take: from what was measured to what the next one will need.

Between ``batches``, which notes every batch, and its choice of the thread that computes the next
one. Counted is the processor's time of the computing thread, not the clock's: a busy machine makes
a batch late, not larger.
"""

from __future__ import annotations

import math
from typing import Final

_SIZES: Final = 32
_NEW_SHARE: Final = 0.2
"""Weight of a new measurement: one that was disturbed is forgotten after a few."""


class Pace:
    """A running estimate by number of rows, in classes of doubling size. For any number of threads."""

    def __init__(self) -> None:
        self._seconds: list[float] = [math.nan] * _SIZES

    def note(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so many seconds."""
        at = _size(rows)
        known = self._seconds[at]
        self._seconds[at] = seconds if math.isnan(known) else known + _NEW_SHARE * (seconds - known)

    def estimate_s(self, rows: int) -> float:
        """Seconds that so many rows will take; infinite where nothing is known.

        A size that was never met takes no longer than the next larger one that was, or else as
        much more than the next smaller one as it has more rows.
        """
        at = _size(rows)
        for seconds in self._seconds[at:]:
            if not math.isnan(seconds):
                return seconds
        for smaller in range(at - 1, -1, -1):
            if not math.isnan(self._seconds[smaller]):
                return self._seconds[smaller] * 2.0 ** (at - smaller)
        return math.inf


def _size(rows: int) -> int:
    return min(rows.bit_length(), _SIZES - 1)
