"""Depth without decoding agrees with decoding."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.nesting import deeper_than

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('ab[]{}"\\,:\u00e9'), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.sampled_from('k[]{}"\\'), max_size=4), inner)
    ),
    max_leaves=40,
)


def depth(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 0


@given(JSON, st.integers(0, 6), st.booleans())
def test_any_json_is_judged_as_its_decoded_form(value: Any, limit: int, ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert deeper_than(raw, limit) == (depth(value) > limit)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"a\\"[":['])
def test_a_bomb_is_too_deep(opening: bytes) -> None:
    assert deeper_than(opening * 100_000, 32)


def test_brackets_in_strings_are_no_depth() -> None:
    assert not deeper_than(b'["' + b"[" * 1000 + b'"]', 32)
    assert not deeper_than(b'["\\"' + b"{" * 1000 + b'"]', 32)


@pytest.mark.parametrize("end", [b"", b"\\", b'"'])
def test_quotes_that_are_escaped_take_no_time_each(end: bytes) -> None:
    """Where each is taken for the start of a string that never ends, four millions take hours: the suite's limit."""
    opening = b"[" * 40 + b'"'
    assert deeper_than(opening + b'\\"' * 4_000_000 + end, 32)


def test_an_escaped_backslash_escapes_no_quote() -> None:
    assert deeper_than(b'["\\\\",' * 40 + b"1" + b"]" * 40, 32)
    assert not deeper_than(b'["\\\\\\"' + b"[" * 40 + b'"]', 32)


def test_a_string_of_escapes_takes_little_memory() -> None:
    raw = b'["' + b'\\"[' * 1_000_000 + b'"]'
    tracemalloc.start()
    try:
        assert not deeper_than(raw, 32)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(raw)
    finally:
        tracemalloc.stop()
