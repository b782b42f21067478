"""A point in time by which an answer must be there; on every arrow of the flow.

Comes in as milliseconds from an HTTP header or an AMQP expiration, goes out as the remaining
time of the next hop. Time left travels as a relative number because the clocks of two machines
differ; within a process it is a point on the monotonic clock, which no clock change moves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point ``at`` on this process's monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that is ``seconds`` away from now."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left; 0.0 once it has passed."""
        return max(0.0, self.at - time.monotonic())

    @property
    def remaining_ms(self) -> int:
        """Whole milliseconds left, rounded down so that no hop gets more than there is."""
        return max(0, int((self.at - time.monotonic()) * 1000))

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self.at
