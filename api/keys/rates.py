"""How often a key may ask: a bucket that fills at the key's rate, and that every call takes from.

Beside the keyring, which has one for each key with a rate. A second's worth may be taken at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from api import refusals

MAX_PER_S: Final = 100_000
"""The highest rate; who wants more sets none."""
SHARED_BY: Final = b"x-warren-replicas"
"""The header in which Nginx says how many replicas take turns with calls like this one. It overwrites a client's."""
_MAX_REPLICAS = 1_000


class Level(NamedTuple):
    """What is in a bucket: so many calls, at that second of the monotonic clock."""

    calls: float
    at_s: float


FULL: Final = Level(math.inf, 0.0)
"""A bucket that nobody took from yet, whatever it holds."""


def take(level: Level, rate_per_s: float, cost: int, now_s: float) -> tuple[Level, float]:
    """Take ``cost`` calls from a bucket that gets ``rate_per_s`` of them a second.

    It holds a second's worth, and never less than ``cost``. Gives the new level, and the seconds until
    there is enough: 0 where it was taken, else nothing was.
    """
    most = max(rate_per_s, cost)
    filled = min(most, level.calls + rate_per_s * max(0.0, now_s - level.at_s))
    if filled >= cost:
        return Level(filled - cost, now_s), 0.0
    return Level(filled, now_s), (cost - filled) / rate_per_s


def cost_of(headers: Mapping[bytes, bytes]) -> int:
    """How many calls one call stands for: as many replicas as take turns each see one of so many.

    1 where Nginx doesn't say, which is also what it says of calls that all go to one replica.
    """
    text = headers.get(SHARED_BY, b"")
    return min(max(1, int(text)), _MAX_REPLICAS) if text.isdigit() and len(text) <= 4 else 1


class Allowance:
    """The bucket of one key in this replica; for the event loop's thread."""

    __slots__ = ("_level", "rate_per_s")

    def __init__(self, rate_per_s: float) -> None:
        """``rate_per_s`` is what the key may ask of the whole gateway."""
        self.rate_per_s = rate_per_s
        self._level = FULL

    def spend(self, headers: Mapping[bytes, bytes], now_s: float) -> None:
        """Take what a call with these headers costs. Raises refusals.RateLimited."""
        self._level, wait_s = take(self._level, self.rate_per_s, cost_of(headers), now_s)
        if wait_s:
            raise refusals.RateLimited(wait_s, f"It may make {self.rate_per_s:g} calls a second.")
