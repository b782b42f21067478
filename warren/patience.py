"""When a call is sent again, and how long is waited before: pure policy, no clock and no socket.

Between a failed attempt and the next one. Sent again are predictions, which change nothing, and
trainings, which carry a key that makes the same job of every copy. Nothing else is.
"""

from __future__ import annotations

import email.utils
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from warren import errors

_AGAIN = (
    errors.ConnectionFailed,
    errors.TimedOut,
    errors.Overloaded,
    errors.Unavailable,
    errors.DeadlineExceeded,
)


@dataclass(frozen=True)
class Retries:
    """How often and how long.

    ``attempts``: copies at most, the first included. ``total_s``: seconds from the first attempt
    after which none is begun. ``first_pause_s`` doubles with each attempt, up to
    ``longest_pause_s``; half of each pause is drawn by lot, so that callers that were refused
    together do not come back together.
    """

    attempts: int = 4
    total_s: float = 60.0
    first_pause_s: float = 0.2
    longest_pause_s: float = 10.0

    def pause_s(self, error: errors.WarrenError, attempt: int, elapsed_s: float) -> float | None:
        """Seconds until the next copy after ``attempt`` copies failed, None: this error is the end.

        Retry-After is honoured: no copy leaves before it, and where it is longer than
        ``longest_pause_s`` there is none.
        """
        if attempt >= self.attempts or not isinstance(error, _AGAIN):
            return None
        asked_s = (error.retry_after_s if isinstance(error, errors.ApiError) else None) or 0.0
        backoff_s: float = min(self.longest_pause_s, self.first_pause_s * 2.0 ** (attempt - 1))
        pause_s = max(asked_s, backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        if asked_s:
            pause_s += backoff_s * random.uniform(0.0, 0.5)  # noqa: S311 - jitter, not a secret
        if asked_s > self.longest_pause_s or elapsed_s + pause_s > self.total_s:
            return None
        return pause_s


NEVER = Retries(attempts=1)
"""For calls that are made once."""


def retry_after_s(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None where it asks nothing readable."""
    text = (header or "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - (now or datetime.now(UTC))).total_seconds())
