"""A request of four hundred rows to a forest: the whole answer is to come, to whom it belongs."""

from __future__ import annotations

import contextlib
import json

MODEL = "heavy"
_ROWS = 400
_INSTANCES = json.dumps([[n / _ROWS, 1 - n / _ROWS] for n in range(_ROWS)]).encode()


def body(_x: int) -> bytes:
    return b'{"model":"heavy","instances":%s}' % _INSTANCES


def objection(_x: int, request_id: str, header_id: str, content: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(content)
        whole = (told["request_id"], header_id, len(told["predictions"])) == (request_id, request_id, _ROWS)
        return "" if whole else f"crossed: {told['request_id']}, {len(told['predictions'])} rows"
    return f"not readable: {content[:100]!r}"
