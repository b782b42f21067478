"""Many bodies read at once: what each of them would have given by itself, or nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables import joined, plain, rows
from tables.columns import Column
from tables.errors import TableError
from tables.schema import Schema

NUMBERS = Schema((Column("a", "number"), Column("b", "number")))
MIXED = Schema((Column("age", "number"), Column("city", "text"), Column("member", "boolean")))


def alone(bodies: list[bytes], schema: Schema, max_rows: int) -> list[Any] | None:
    """Numbers and texts of each body read by itself, or None when one cannot be read."""
    try:
        decoded = [rows.decode_json(body, schema, max_rows=max_rows) for body in bodies]
    except TableError:
        return None
    return [(each.numbers.tolist(), each.texts.tolist()) for each in decoded]


def together(bodies: list[bytes], schema: Schema, max_rows: int = 100) -> list[Any] | None:
    found = joined.decode(bodies, schema, max_rows=max_rows)
    return None if found is None else [(p.numbers.tolist(), p.texts.tolist()) for p in found[0].split(found[1])]


@pytest.mark.parametrize(
    "bodies",
    [
        [b"[[1,2]]"],
        [b"[[1,2]]", b"[[3, 4.5], [5,6]]", b"[[-7e2 ,8]]"],
        [b'[{"a":1,"b":2}]', b'[{"b":4,"a":3},{"a":5,"b":null}]'],
        [b"[[1,null]]", b"[[2,3]]"],
        [b"[ [1,2] ]", b"[[3,4]]"],
    ],
)
def test_usual_bodies_are_read_at_once(bodies: list[bytes]) -> None:
    assert json.dumps(together(bodies, NUMBERS)) == json.dumps(alone(bodies, NUMBERS, 100))
    assert together(bodies, NUMBERS) is not None


@pytest.mark.parametrize(
    "bodies",
    [
        [b"[[1,2]]", b"[[3]]"],
        [b"[[1]]", b"[[2,3,4]]"],
        [b"[[1,2]]", b"[]"],
        [b"[[1,2]]", b"5"],
        [b"[[1,2]]", b'[{"a":1,"b":2}]'],
        [b'[["1",2]]', b"[[1,2]]"],
        [b'[{"a":1,"a":1,"b":2}]'],
        [b"[[1e999,2]]"],
        [b"[[1,]]"],
        # Bodies that are JSON only together: nobody's rows may come from another's.
        [b"[[1,2]],[[3,4]]", b""],
        [b"", b"[[1,2]],[[3,4]]"],
        [b"[[1,2", b"3,4]]"],
        [b"[[1", b"2]],[[3,4]]"],
        [b"[[1,2]],[[3", b"4]]"],
        [b"[[1,2]", b"[3,4]]"],
        [b"[[1,2]],null,[[3", b"4]]"],
        [b'[{"a":1,"b":2}', b'{"a":1,"b":2}]'],
    ],
)
def test_one_odd_body_is_left_to_the_way_that_can_name_it(bodies: list[bytes]) -> None:
    assert together(bodies, NUMBERS) is None


def test_more_rows_than_a_request_may_have_are_left_to_it_too() -> None:
    assert together([b"[[1,2]]", b"[[1,2],[1,2],[1,2]]"], NUMBERS, max_rows=2) is None
    assert together([b"[[1,2]]", b"[[1,2],[1,2]]"], NUMBERS, max_rows=2) is not None


_number = st.one_of(st.none(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
_text = st.one_of(st.none(), st.text(max_size=4), st.sampled_from([" NA ", 'a"b', "],[", "[[", "{}"]))
_mixed = st.lists(st.tuples(_number, _text, st.one_of(st.none(), st.booleans())), min_size=1, max_size=3)
_plain = st.lists(st.tuples(_number, _number), min_size=1, max_size=3)
_odd = st.one_of(st.binary(max_size=6), st.sampled_from([b"[[", b"]]", b"[[1,2]],[[1", b"]", b"[", b","]))


@given(st.lists(st.one_of(_mixed.map(json.dumps).map(str.encode), _odd), min_size=1, max_size=4))
def test_what_is_read_at_once_is_what_each_gives_alone(bodies: list[bytes]) -> None:
    found = together(bodies, MIXED)
    assert found is None or json.dumps(found) == json.dumps(alone(bodies, MIXED, 100))


@given(st.lists(st.one_of(_plain.map(json.dumps).map(str.encode), _odd), min_size=1, max_size=4))
def test_numbers_read_at_once_are_what_each_gives_alone(bodies: list[bytes]) -> None:
    found = together(bodies, NUMBERS)
    assert found is None or json.dumps(found) == json.dumps(alone(bodies, NUMBERS, 100))


@pytest.mark.parametrize("piece_bytes", [0, 1, 9, 40, 10_000])
def test_long_texts_are_parsed_in_pieces(monkeypatch: pytest.MonkeyPatch, piece_bytes: int) -> None:
    monkeypatch.setattr(plain, "PIECE_BYTES", piece_bytes)
    table = np.arange(60.0).reshape(20, 3)
    for separators in ((",", ":"), (", ", ":"), (" ,", ":")):
        text = json.dumps(table.tolist(), separators=separators)[1:-1].encode()
        found = plain.numbers(text, 3)
        assert found is not None
        assert np.array_equal(found, table)
        for odd in (text + b",", b"," + text, text + b"]", text.replace(b"7", b'"7"'), text.replace(b"[", b"[1,", 1)):
            assert plain.numbers(odd, 3) is None


@pytest.mark.parametrize("text", [b"", b"[]", b"[,]", b"[1 2,3]", b"[--1,2]", b"[e,1]", b"[1,2],", b"[1,2][3,4]"])
def test_what_is_no_table_of_numbers_is_refused(text: bytes) -> None:
    assert plain.numbers(text, 2) is None
    assert plain.numbers(b"[]", 1) is None
