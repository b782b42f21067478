"""Four hundred rows to a forest that says ``n`` to ``[n, -n]``, or nearly; no two requests in a row are alike.

A fifth of the rows is kept out of a training, so the answer to one of those is that to a neighbour's.
"""

from __future__ import annotations

import contextlib
import json

MODEL = "heavy"
KNOWN = 2_000
_ROWS = 400
_NEAR = 20
"""Of so many neighbours one has been learned; answers to other requests are ten times as far away."""

_BODIES = [
    b'{"model":"heavy","instances":%s}' % json.dumps([[n, -n] for n in range(first, first + _ROWS)]).encode()
    for first in range(0, KNOWN, _ROWS)
]


def body(x: int) -> bytes:
    return _BODIES[x % len(_BODIES)]


_right: dict[int, bytes] = {}
"""The array of the first right answer to each body: who sends the load is to spend no time on looking at it again."""


def objection(x: int, request_id: str, header_id: str, content: bytes) -> str:
    """What is wrong with the answer to ``body(x)``, empty when nothing is."""
    number = x % len(_BODIES)
    head, _, tail = content.partition(b'"predictions":')
    array, _, rest = tail.partition(b"]")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(head + b'"predictions":null' + rest)
        if (told["request_id"], header_id) != (request_id, request_id):
            return f"crossed: asked as {request_id}, answered to {told['request_id']} and {header_id}"
        if (told["model"], told["version"]) != (MODEL, 1):
            return f"version {told['version']} of {told['model']}"
        if array == _right.get(number):
            return ""
        values = json.loads(array + b"]")
        if len(values) != _ROWS:
            return f"{len(values)} rows"
        far = [(n, value) for n, value in enumerate(values, number * _ROWS) if abs(value - n) > _NEAR]
        if far:
            return f"crossed or wrong: {far[0][1]} instead of {far[0][0]}"
        _right[number] = array
        return ""
    return f"not readable: {content[:100]!r}"
