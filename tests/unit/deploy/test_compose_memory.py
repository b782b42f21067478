"""What docs/compose.md says about a predictor's memory is what docker-compose.yml gives it, and it suffices."""

from __future__ import annotations

import re

from predictor import memory_limit, room
from tests.source_tree import CHECKOUT

PAGE = " ".join((CHECKOUT / "docs" / "compose.md").read_text().split())
SERVICE = re.search(r"^  predictor:\n(?:    .*\n|\n)+", (CHECKOUT / "docker-compose.yml").read_text(), re.MULTILINE)
GIB = 2**30
LOADING = 20
"""How many times its file a forest takes while it is loaded, as the page says it."""
REST_BYTES = 150 * 10**6
"""A predictor's own memory, with batches under way."""


def told(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, pattern
    return float(found[1])


def test_the_page_says_what_a_predictor_has_and_keeps() -> None:
    assert SERVICE is not None
    kept_bytes = told(r'WARREN_PREDICT__MEMORY_BYTES: "(\d+)"', SERVICE[0])
    assert told(r"A predictor's \((\d+) GB\)", PAGE) == told(r"memory: (\d+)G\b", SERVICE[0])
    assert told(r"it keeps (\d+) GiB \(`WARREN_PREDICT__MEMORY_BYTES`\)", PAGE) == kept_bytes / GIB
    assert told(r"beside (\d+) GiB of others", PAGE) == kept_bytes / GIB
    assert told(r"reckoned with ([\d.]+) times the file of a graph", PAGE) == room.BYTES_IN_MEMORY["onnx"]


def test_the_largest_forest_of_the_page_can_be_loaded_beside_all_that_is_kept() -> None:
    assert SERVICE is not None
    container_bytes = int(told(r"memory: (\d+)G\b", SERVICE[0])) * GIB
    kept_bytes = told(r'WARREN_PREDICT__MEMORY_BYTES: "(\d+)"', SERVICE[0])
    forest_bytes = told(r"one of up to (\d+) MB fits", PAGE) * 10**6
    assert told(r"it takes (\d+) times its file", PAGE) == LOADING
    may_take = memory_limit.limit_bytes(container_bytes) - memory_limit.UNTOUCHED_BYTES
    assert kept_bytes + LOADING * forest_bytes + REST_BYTES <= may_take
