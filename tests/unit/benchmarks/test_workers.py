"""The page on workers holds the medians of what was measured, in the order it was set."""

from __future__ import annotations

from benchmarks import workers


def test_the_page_has_medians_with_their_rounds() -> None:
    found = {
        ("Nginx workers", count, connections): [1000.0 * count, 3000.0 * count, 2000.0 * count]
        for count in (1, 4)
        for connections in workers.CONNECTIONS
    }
    page = workers.table(found).splitlines()
    assert page[-2].startswith("| Nginx workers | 1 | 2,000 (1,000, 3,000, 2,000) |")
    assert page[-1].startswith("| Nginx workers | 4 | 8,000 (4,000, 12,000, 8,000) |")
    assert {line.count("|") for line in page[-4:]} == {3 + len(workers.CONNECTIONS)}
