"""Points in time as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at_ms: int) -> str:
    """Milliseconds since 1970 as ``2026-11-22T18:15:47.123Z``."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at_ms: int | None) -> str | None:
    """The same, None for what has not happened."""
    return None if at_ms is None else iso(at_ms)
