"""JSON to Python values at orjson's speed, for the decoders of rows; too little memory is told from bad JSON.

Beneath ``tables.rows``, ``joined``, ``headed`` and ``tensor_data``.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

NotJson = orjson.JSONDecodeError
"""The text is not JSON."""

_SHORTAGE: Final = "Not enough memory"


def loads(text: bytes) -> Any:
    """The value of a JSON text. Raises NotJson and MemoryError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # Its word for a buffer that it did not get, which is no fault of the text.
        if _SHORTAGE in error.msg:
            raise MemoryError from error
        raise
    except SystemError as error:
        # Its word for a value that it did not get: returned as if it were there.
        if isinstance(error.__cause__, MemoryError):
            raise MemoryError from error
        raise
