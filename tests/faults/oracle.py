"""A model whose every answer can be checked: version ``v`` says ``x + v * STEP`` for the number ``x``."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # What sends the load needs no client of the stack, and is to begin soon.
    from tests.acceptance.stack import Client

MODEL = "oracle"
STEP = 10_000_000
"""What tells one version's answers from another's: more than any ``x`` that is asked."""
VERSIONS = (1, 2)
TOLERANCE = 0.01


def train(client: Client) -> None:
    """Publish both versions; the second is the champion."""
    for version in VERSIONS[_published(client) :]:
        rows = [{"x": x, "y": x + version * STEP} for x in range(-500, 500)]
        asked = {"model": MODEL, "dataset": {"rows": rows}, "target": "y", "estimator": "LinearRegression"}
        result = client.trained(**asked, promote="always")
        assert result["version"] == version, result


def _published(client: Client) -> int:
    answer = client.http.get(f"/models/{MODEL}")
    return len(answer.json()["versions"]) if answer.status_code == 200 else 0


def body(x: int) -> bytes:
    """The request that asks for ``x``: every third names version 1, every third version 2, the others none."""
    named = {1: b'"version":1,', 2: b'"version":2,'}.get(x % 3, b"")
    return b'{"model":"oracle",%s"instances":[[%d]]}' % (named, x)


def objection(x: int, request_id: str, header_id: str, content: bytes) -> str:
    """What is wrong with the answer to ``body(x)``, empty when nothing is."""
    version = 1 if x % 3 == 1 else 2
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
        told = json.loads(content)
        if (told["request_id"], header_id) != (request_id, request_id):
            return f"crossed: asked as {request_id}, answered to {told['request_id']} and {header_id}"
        if (told["model"], told["version"]) != (MODEL, version):
            return f"version {told['version']} of {told['model']} instead of {version}"
        [value] = told["predictions"]
        wanted = x + version * STEP
        return "" if abs(value - wanted) <= TOLERANCE else f"crossed or wrong: {value} instead of {wanted}"
    return f"not readable: {content[:200]!r}"
