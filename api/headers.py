"""Headers that every call has: the request's id and deadline in, identity and security out.

Between Nginx and the routes, on the lean prediction path as on all others.
"""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Final

from wire import errors
from wire.settings import Predict

SECURITY: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""On every answer, errors too (OWASP REST security cheat sheet); a route's own value wins."""

MAX_BYTES: Final = 32 * 1024
"""Largest sum of a request's header names and values."""
MAX_TARGET_BYTES: Final = 8 * 1024
"""Longest path with query."""

_SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_prefix = secrets.token_hex(8)
_numbers = itertools.count(1)


def request_id(given: bytes | None) -> str:
    """The caller's id when it is sane (128 letters, digits and ``._:-`` at most), else a new one."""
    if given and _SANE_ID.fullmatch(given):
        return given.decode("ascii")
    return f"{_prefix}{next(_numbers):08x}"


def timeout_s(given: bytes | None, limits: Predict) -> float:
    """Seconds a call may take, from ``X-Request-Timeout-Ms``. Raises errors.BadInput."""
    if given is None:
        return limits.deadline_ms / 1000
    text = given.strip()
    if text.isdigit() and len(text) <= 9 and 1 <= int(text) <= limits.deadline_max_ms:
        return int(text) / 1000
    place = errors.FieldError("X-Request-Timeout-Ms", f"must be a whole number from 1 to {limits.deadline_max_ms}")
    raise errors.BadInput("A header of the request is not valid.", errors=[place])


def server_timing(queue_s: float, inference_s: float, total_s: float) -> bytes:
    """``Server-Timing`` of a prediction, in milliseconds (W3C Server Timing)."""
    return (
        f"queue;dur={queue_s * 1000:.2f}, inference;dur={inference_s * 1000:.2f}, total;dur={total_s * 1000:.2f}"
    ).encode()
