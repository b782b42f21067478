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
AGAIN_S = 0.05
"""Seconds between two further copies at least."""
_TIMES = 4.0
_FADING = 0.75
"""What the batches before count for, each time another one is answered."""
BATCH_S = 0.15
"""Longest time a batch should be computed: with much longer ones, everybody waits for two of them at least."""
EARLY_SHARE = 0.1
"""Share of its own time for which the others of its model may have waited without a thought."""


class Pace:
    """The usual time of one lane's batches: mean and deviation, as TCP has them (RFC 6298)."""

    __slots__ = ("_bytes", "_compute_s", "_deviation_s", "_landed_at", "_mean_s", "_turn_s")

    def __init__(self) -> None:
        self._mean_s = -1.0
        self._deviation_s = 0.0
        self._bytes = self._compute_s = self._turn_s = 0.0
        self._landed_at = float("-inf")

    def observe(self, seconds: float, size_bytes: int, compute_s: float, landed_at: float) -> None:
        """One batch of so many bytes was answered after ``seconds``, at ``landed_at`` on the monotonic clock.

        ``compute_s`` is what a predictor computed for it, without any waiting.
        """
        self._bytes = _FADING * self._bytes + size_bytes
        self._compute_s = _FADING * self._compute_s + compute_s
        # Of two that were under way together each counts only for the time that it alone was waited for.
        turn_s = min(seconds, landed_at - self._landed_at)
        self._turn_s = _FADING * self._turn_s + (1 - _FADING) * turn_s if self._turn_s else turn_s
        self._landed_at = landed_at
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

    def again_s(self, copies: int) -> float:
        """Seconds until a batch that was sent so many times is looked at again: half as many each time.

        Who froze may have taken the copy too, several times in a row, and the deadline comes nearer.
        """
        return max(AGAIN_S, self.patience_s * 0.5 ** (copies - 1))

    @property
    def batch_bytes(self) -> float:
        """About how many bytes are computed in BATCH_S; infinite while nothing is known."""
        return BATCH_S * self._bytes / self._compute_s if self._compute_s > 0 else float("inf")

    def would_be_late(self, waited_s: float, backlog_bytes: int, most_s: float) -> bool:
        """Whether a request that may take ``most_s`` had better be refused at once.

        ``waited_s`` is how long the others of its lane have waited at most, ``backlog_bytes`` what is
        there before it. In a queue that is always full everybody waits until his deadline, and most of
        what is computed is too late. A burst is no such queue: nobody in it has waited yet.
        """
        if waited_s <= EARLY_SHARE * most_s:
            return False
        expected_s = (1 + backlog_bytes / self.batch_bytes) * self._turn_s
        return waited_s > most_s or expected_s > most_s


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
