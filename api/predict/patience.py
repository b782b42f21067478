"""When a batch counts as stuck, and how often one may be sent a second time. Pure.

Beside the coalescer. A predictor that froze still holds its batches, and nobody is told until
its connection times out; a second copy after a few times the usual time hides that (Dean and
Barroso, The Tail at Scale, 2013), and a budget keeps copies from feeding an overload.
"""

from __future__ import annotations

FLOOR_S = 0.2
"""Patience in seconds never falls below this: on a busy machine a pause of tens of ms is no fault."""
UNKNOWN_S = 0.5
"""Patience in seconds before anything was measured: a first batch may load its model."""
_TIMES = 4.0


class Pace:
    """The usual time of one lane's batches: mean and deviation, as TCP has them (RFC 6298)."""

    __slots__ = ("_deviation_s", "_mean_s")

    def __init__(self) -> None:
        self._mean_s = -1.0
        self._deviation_s = 0.0

    def observe(self, seconds: float) -> None:
        """One batch was answered after ``seconds``."""
        if self._mean_s < 0:
            self._mean_s, self._deviation_s = seconds, seconds / 2
            return
        self._deviation_s += 0.25 * (abs(seconds - self._mean_s) - self._deviation_s)
        self._mean_s += 0.125 * (seconds - self._mean_s)

    @property
    def patience_s(self) -> float:
        """Seconds after which a batch is unusually late: a few times the usual time."""
        if self._mean_s < 0:
            return UNKNOWN_S
        return max(FLOOR_S, _TIMES * (self._mean_s + self._deviation_s))


class Budget:
    """Second copies as a share of first ones, with a small credit to begin with."""

    __slots__ = ("_credit", "_most", "_share")

    def __init__(self, share: float, most: float = 5.0) -> None:
        """``share`` of the batches may be sent twice; at most ``most`` copies are saved up."""
        self._share = share
        self._most = most
        self._credit = most

    def earn(self) -> None:
        """One batch was sent."""
        self._credit = min(self._most, self._credit + self._share)

    def spend(self) -> bool:
        """Whether one copy may be sent now; if so it is paid for."""
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True
