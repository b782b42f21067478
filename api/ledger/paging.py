"""Pages of rows that may be large: they end by the number of rows or by what the rows hold, whichever is first.

Between the database and those who list datasets and jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select

T = TypeVar("T")

PAGE_CHARS = 4 * 2**20
"""Characters of JSON in its rows behind which a page ends, though fewer rows than asked for are in it."""
_AT_ONCE = 20


def read(
    connection: Connection, statement: Select[Any], limit: int, make: Callable[[Row[Any]], T], size: Callable[[T], int]
) -> tuple[list[T], bool]:
    """At most ``limit`` rows, fewer where they are large, at least one where there is one; and whether more follow.

    ``size`` tells the characters of JSON in a row; no more rows than that are held at any time, but for a few.
    """
    page: list[T] = []
    chars = 0
    with connection.execute(statement.limit(limit + 1).execution_options(yield_per=_AT_ONCE)) as found:
        for row in found:
            if len(page) == limit or chars >= PAGE_CHARS:
                return page, True
            page.append(make(row))
            chars += size(page[-1])
    return page, False
