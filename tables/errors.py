"""Errors of reading rows and schemas; the services turn them into errors that travel.

The tree::

    TableError
    ├── RowErrors      rows of the wrong shape or value, with at most 16 places
    ├── NotJson        the bytes are no JSON text that is read here
    ├── TooManyRows    more rows than a request may hold
    └── BadSchema      a schema that cannot be read or makes no sense

No message repeats a value from the input.
"""

from __future__ import annotations

MAX_ROW_ERRORS = 16
"""How many places RowErrors names; the rest say nothing new to a person."""


class TableError(Exception):
    """Something is wrong with a table."""


class RowErrors(TableError):
    """Rows have the wrong shape or wrong values.

    ``errors`` holds at most 16 pairs ``(at, problem)``: ``at`` is a path such as
    ``instances[3].age``, ``problem`` a sentence that never repeats the value.
    """

    def __init__(self, errors: tuple[tuple[str, str], ...]) -> None:
        self.errors = errors[:MAX_ROW_ERRORS]
        super().__init__("; ".join(f"{at}: {problem}" for at, problem in self.errors))


class NotJson(TableError):
    """The bytes are not JSON: syntax, NaN, not UTF-8, a name twice in one object, or nested too deeply."""


class TooManyRows(TableError):
    """There are more rows than allowed; ``max_rows`` is the limit."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        super().__init__(f"more than {max_rows} rows in one request")


class BadSchema(TableError):
    """The stored schema cannot be read, or its columns make no sense."""
