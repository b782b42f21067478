"""Every way of decoding that is timed gives the same numbers."""

from __future__ import annotations

from benchmarks import decoding


def test_all_ways_are_timed_and_agree() -> None:
    found = decoding.measure(3, rows=50, turns=1)
    assert [*found] == [name for name, _ in decoding.WAYS]
