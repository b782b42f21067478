"""The rows of many requests to one Batch at once: for ``tables.rows``, without its work per request.

Bodies of requests come in, one Batch and each request's number of rows go out, or None where only
reading each body by itself can tell whose mistake it is. What is answered is exactly what reading
each by itself would give. The bodies are joined into one document and parsed once; that none of
them ends in another is proven from their brackets (rows of numbers, which hold no text), or by a
separator that nobody can guess.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import chain
from typing import Final

from tables import parsing, plain, rows
from tables.batch import Batch
from tables.schema import Schema

Joined = tuple[Batch, list[int]]
"""All rows in order, and how many of them each body had."""

_MARK: Final = secrets.token_hex(8)
_SEPARATOR: Final = f',"{_MARK}",'.encode()


def decode(bodies: Sequence[bytes], schema: Schema, *, max_rows: int) -> Joined | None:
    """Decode the values of ``instances`` of several requests, or None."""
    found = _numbers(bodies, schema) if schema.only_numbers else None
    if found is None:
        found = _by_column(bodies, schema)
    if found is None or max(found[1]) > max_rows:
        return None
    return found


def _numbers(bodies: Sequence[bytes], schema: Schema) -> Joined | None:
    """Bodies of plain rows of numbers, without white space around their outer brackets.

    Each begins with ``[[`` and ends with ``]]``. If the brackets and commas of all of them are
    exactly those of that many lists of rows, as counted in each, no body holds a part of another's.
    """
    counts = []
    for body in bodies:
        if body[:2] != b"[[" or body[-2:] != b"]]":
            return None
        counts.append(body.count(b"[") - 1)
    numbers = plain.numbers(b",".join([body[1:-1] for body in bodies]), len(schema.columns))
    if numbers is None or len(numbers) != sum(counts):
        return None
    return plain.batch(numbers), counts


def _by_column(bodies: Sequence[bytes], schema: Schema) -> Joined | None:
    """Bodies of any rows whose cells are of their column's usual type."""
    try:
        parts = parsing.loads(b"[" + _SEPARATOR.join(bodies) + b"]")
    except parsing.NotJson:
        return None
    each = parts[::2]
    # A value per body, and between them the separators: then every body is one value.
    if len(parts) != 2 * len(bodies) - 1 or any(mark != _MARK for mark in parts[1::2]):
        return None
    if any(type(one) is not list or not one for one in each):
        return None
    batch = rows.by_column(b"".join(bodies), list(chain.from_iterable(each)), schema)
    return None if batch is None else (batch, list(map(len, each)))
