"""Depth without decoding agrees with decoding."""

from __future__ import annotations

import json
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
