"""An error as one sentence, for protocols whose errors have room for no more.

Beside the protocols: an error of ours comes in, a text of bounded size goes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from api import problems
from wire import errors

MOST_BYTES: Final = 4000
"""The largest text, as JSON, so that an answer with it stays below ``problems.MAX_BYTES``."""
_MOST_CHARS: Final = 2048
"""The longest text, which nobody reads to its end."""
_PART_CHARS, _AT_CHARS, _PROBLEM_CHARS = 512, 120, 240


def of(error: errors.WarrenError) -> str:
    """The sentence, the first places that are wrong, and the hint; nothing of an internal error but that it was."""
    if error.code not in problems.STATUS or error.code == "internal_error":
        error = errors.InternalError()
    places = error.errors
    text = _joined(error, places, error.hint)
    while _too_large(text) and places:
        places = places[:-1]
        text = _joined(error, places, error.hint)
    return _joined(error, (), "") if _too_large(text) else text


def _joined(error: errors.WarrenError, places: Sequence[errors.FieldError], hint: str) -> str:
    told = "; ".join(f"{field.at[:_AT_CHARS]} {field.problem[:_PROBLEM_CHARS]}" for field in places)
    parts = (error.message[:_PART_CHARS], told and f"{told}.", hint[:_PART_CHARS])
    return " ".join(part for part in parts if part)


def _too_large(text: str) -> bool:
    # A character takes up to six bytes.
    return len(text) > _MOST_CHARS or len(msgspec.json.encode(text)) > MOST_BYTES
