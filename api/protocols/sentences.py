"""An error as one sentence, for protocols whose errors have room for no more.

Beside the protocols: an error of ours comes in, a text of bounded length goes out.
"""

from __future__ import annotations

from typing import Final

from api import problems
from wire import errors

MOST_CHARS: Final = 2048
"""The longest text; an answer must not be a lever to produce traffic."""


def of(error: errors.WarrenError) -> str:
    """The sentence, the first places that are wrong, and the hint; nothing of an internal error but that it was."""
    if error.code not in problems.STATUS or error.code == "internal_error":
        error = errors.InternalError()
    places = "; ".join(f"{field.at[:120]} {field.problem[:240]}" for field in error.errors)
    parts = (error.message, places and f"{places}.", error.hint)
    return " ".join(part for part in parts if part)[:MOST_CHARS]
