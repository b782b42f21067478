from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables import careful, rows
from tables.batch import Batch
from tables.columns import Column
from tables.errors import NotJson, RowErrors, TableError, TooManyRows
from tables.schema import Schema

NUMBERS = Schema((Column("a", "number"), Column("b", "number")))
ONE = Schema((Column("only", "number"),))
MIXED = Schema(
    (
        Column("age", "number"),
        Column("city", "text"),
        Column("member", "boolean"),
        Column("since", "date", "2020-01-01T00:00:00", "day_first"),
    )
)
WITH_IGNORED = Schema((Column("age", "number"), Column("city", "text")), ("nothing",))
TEXTS = Schema((Column("city", "text"),))
NAN = math.nan


def decode(value: Any, schema: Schema = NUMBERS, max_rows: int = 100) -> Batch:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return rows.decode_json(raw, schema, max_rows=max_rows)


def problems(value: Any, schema: Schema = NUMBERS) -> dict[str, str]:
    with pytest.raises(RowErrors) as caught:
        decode(value, schema)
    return dict(caught.value.errors)


def same(left: Batch, right: Batch) -> bool:
    return bool(
        np.array_equal(left.numbers, right.numbers, equal_nan=True) and left.texts.tolist() == right.texts.tolist()
    )


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ([[1, 2.5], [-3, 4e2]], [[1, 2.5], [-3, 400]]),
        (b" [ [1 , 2] ] ", [[1, 2]]),
        ([[1, None]], [[1, NAN]]),
        ([{"a": 1, "b": 2}], [[1, 2]]),
        ([{"b": 2, "a": 1}, {"a": None, "b": 0}], [[1, 2], [NAN, 0]]),
        ([{"b": 2}, {}], [[NAN, 2], [NAN, NAN]]),
        ([{"b": 2}, {"a": 1}], [[NAN, 2], [1, NAN]]),
        ([[1, 2], {"a": 3, "b": 4}], [[1, 2], [3, 4]]),
        ([["1.5", " NA "]], [[1.5, NAN]]),
        (b"[[18446744073709551616, -9223372036854775809]]", [[18446744073709551616.0, -9223372036854775809.0]]),
        (b'[{"\\u0061": 1, "b": 2}]', [[1, 2]]),
        (b"[[-0.0, 1e-999]]", [[0, 0]]),
    ],
)
def test_rows_of_numbers_are_read(value: Any, numbers: list[list[float]]) -> None:
    decoded = decode(value)
    assert np.array_equal(decoded.numbers, np.array(numbers, dtype=np.float64), equal_nan=True)
    assert decoded.texts.shape == (len(numbers), 0)
    assert decoded.numbers.flags.c_contiguous


@pytest.mark.parametrize(
    ("value", "numbers", "texts"),
    [
        ([[1, " Paris ", True, "2020-01-03"]], [[1, 1, 2]], [["Paris"]]),
        ([[None, None, None, None]], [[NAN, NAN, NAN]], [[""]]),
        ([[1, "NA", False, "31.12.2019 12:00"]], [[1, 0, -0.5]], [[""]]),
        ([["2", 75001, "TRUE", ""]], [[2, 1, NAN]], [["75001"]]),
        ([["", "a\nb", "", " ? "]], [[NAN, NAN, NAN]], [["a\nb"]]),
        ([{"city": "a:b", "since": "2020-01-01T06:00:00Z"}], [[NAN, NAN, 0.25]], [["a:b"]]),
        ([{"city": 'a"b', "age": 1}], [[1, NAN, NAN]], [['a"b']]),
        ([{"city": "Æ", "age": 1, "member": None, "since": None}], [[1, NAN, NAN]], [["Æ"]]),
    ],
)
def test_rows_of_all_types_are_read(value: Any, numbers: list[list[float]], texts: list[list[str]]) -> None:
    decoded = decode(value, MIXED)
    assert np.array_equal(decoded.numbers, np.array(numbers, dtype=np.float64), equal_nan=True)
    assert decoded.texts.tolist() == texts


def test_a_table_may_have_one_column_of_either_kind() -> None:
    assert decode([{"only": 3}, {"only": None}], ONE).numbers[0, 0] == 3
    assert decode([["x"], ["y"]], TEXTS).texts.tolist() == [["x"], ["y"]]
    assert decode([{"city": "x"}], TEXTS).numbers.shape == (1, 0)


def test_ignored_names_may_stand_in_a_named_row() -> None:
    assert decode([{"age": 1, "city": "x", "nothing": None}], WITH_IGNORED).texts.tolist() == [["x"]]
    assert decode([{"age": 1, "city": "x", "nothing": "y"}], WITH_IGNORED).numbers.tolist() == [[1]]


def test_a_memoryview_is_read_like_bytes() -> None:
    assert decode(memoryview(b"[[1,2]]").toreadonly().tobytes()).numbers.tolist() == [[1, 2]]
    assert rows.decode_json(memoryview(b"[[1,2]]"), NUMBERS, max_rows=1).numbers.tolist() == [[1, 2]]


def test_arrays_outlive_the_parser_that_made_them() -> None:
    first = decode([[1, 2], [3, 4]])
    decode([[9, 9]] * 50)
    assert first.numbers.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("value", "at", "word"),
    [
        ({}, "instances", "list of rows"),
        (b"1", "instances", "list of rows"),
        ([], "instances", "at least one row"),
        ([1, 2], "instances[0]", "list of values or an object"),
        ([[1, 2], 3], "instances[1]", "list of values or an object"),
        ([[1], [2, 3, 4]], "instances[1]", "length 3 where 2 is expected: a, b"),
        ([[1, 2], []], "instances[1]", "length 0"),
        ([[[1], 2]], "instances[0].a", "must be a number"),
        ([[[1], 2], [3]], "instances[1]", "length 1"),
        ([[True, 2]], "instances[0].a", "must be a number"),
        ([["x", 2]], "instances[0].a", "must be a number"),
        ([["nan", 2]], "instances[0].a", "write null"),
        ([["1e999", 2]], "instances[0].a", "out of range"),
        (b"[[1e999, 2]]", "instances[0].a", "out of range"),
        (b"[[-1e999, 2]]", "instances[0].a", "out of range"),
        (b"[[1" + b"0" * 350 + b", 2]]", "instances[0].a", "out of range"),
        (b"[[1" + b"0" * 9000 + b", 2]]", "instances[0].a", "out of range"),
        ([{"a": {"b": 1}}], "instances[0].a", "must be a number"),
        ([{"c": 1}], "instances[0]", "a name that is no column of this model; the columns are a, b"),
        ([{"a": 1, "b": 1}, {"c": 1, "d": 2}], "instances[1]", "2 names that are no columns"),
        (b'[["\\ud800", 1]]', "instances[0].a", "half a character"),
        (b'[{"\\ud800": 1}]', "instances[0]", "no column"),
    ],
)
def test_a_mistake_is_named_with_its_place(value: Any, at: str, word: str) -> None:
    assert word in problems(value)[at]


@pytest.mark.parametrize(
    ("row", "at", "word"),
    [
        ({"city": 1.5}, "city", "text in quotes"),
        ({"city": True}, "city", "text in quotes"),
        ({"city": ["x"]}, "city", "text in quotes"),
        ({"member": 1}, "member", "true or false"),
        ({"member": "yes"}, "member", "true or false"),
        ({"since": 20200101}, "since", "31.12.2025"),
        ({"since": "12/31/2020"}, "since", "must be a date"),
        ({"since": "tomorrow", "age": 1, "city": "x", "member": True}, "since", "must be a date"),
        ({"age": [], "city": "x", "member": True, "since": None}, "age", "must be a number"),
        ({"age": 1, "city": "x", "member": 0, "since": None}, "member", "true or false"),
        ({"age": 1, "city": 0.5, "member": True, "since": None}, "city", "text in quotes"),
    ],
)
def test_a_cell_of_the_wrong_type_is_named(row: dict[str, Any], at: str, word: str) -> None:
    assert word in problems([row], MIXED)[f"instances[0].{at}"]


def test_at_most_sixteen_places_are_named_and_no_value_is_repeated() -> None:
    found = problems([["SECRET", "SECRET"]] * 100)
    assert len(found) == 16
    assert "SECRET" not in str(found)
    assert "SECRET" not in str(problems([{"SECRET": 1}]))


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "not JSON"),
        (b"[[1,2]", "not JSON"),
        (b"[[1,2],]", "not JSON"),
        (b"[[01,2]]", "not JSON"),
        (b"[[NaN,2]]", "not JSON"),
        (b"[[Infinity,2]]", "not JSON"),
        (b"[[-Infinity,2]]", "not JSON"),
        (b"[[1,2]] x", "not JSON"),
        (b"\xef\xbb\xbf[[1,2]]", "not JSON"),
        ("[[1,2]]".encode("utf-16"), "not UTF-8"),
        (b'[["\xff",2]]', "not UTF-8"),
        (b'[{"a":1,"a":2,"b":3}]', "same name twice"),
        (b'[{"a":1,"a":1}]', "same name twice"),
        (b'[{"a":1,"\\u0061":2,"b":3}]', "same name twice"),
        (b"[[" + b"[" * 40 + b"]" * 40 + b",1]]", "nested too deeply"),
        (b"[" * 200_000, "nested too deeply"),
        (b'[{"a":' * 40 + b"1" + b"}]" * 40, "nested too deeply"),
    ],
)
def test_bytes_that_are_not_json_are_refused(raw: bytes, word: str) -> None:
    with pytest.raises(NotJson, match=word):
        decode(raw)


@pytest.mark.parametrize("raw", [b'[{"age":1,"city":"x","age":2}]', b'[{"age":1,"city":"x","city":"y"}]'])
def test_a_name_twice_is_found_among_text_cells(raw: bytes) -> None:
    with pytest.raises(NotJson, match="same name twice"):
        decode(raw, WITH_IGNORED)


@pytest.mark.parametrize("value", [[[1, 2]] * 3, [{"a": 1, "b": 1}] * 3, [["1", 2]] * 3, [[1, 2], {}, {}]])
def test_too_many_rows_are_refused_on_every_way(value: Any) -> None:
    with pytest.raises(TooManyRows):
        decode(value, max_rows=2)


def _converted(cell: Any) -> Any:
    return float(cell) if isinstance(cell, int | float) else cell


_number = st.one_of(
    st.none(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.just("1.25")
)
_text = st.one_of(st.none(), st.text(max_size=5), st.sampled_from([" NA ", "Æ", 'a"b', "\\", "x:y"]), st.just(7))
_boolean = st.one_of(st.none(), st.booleans(), st.sampled_from(["true", "FALSE", ""]))
_date = st.one_of(st.none(), st.datetimes().map(lambda moment: moment.isoformat()), st.just("31.12.2020"))
_row = st.tuples(_number, _text, _boolean, _date)


@given(st.lists(_row, min_size=1, max_size=6), st.booleans())
def test_the_fast_ways_give_what_the_careful_way_gives(table: list[tuple[Any, ...]], named: bool) -> None:
    value = [dict(zip(MIXED.names, row, strict=True)) if named else list(row) for row in table]
    raw = json.dumps(value, ensure_ascii=False).encode()
    assert same(rows.decode_json(raw, MIXED, max_rows=10), careful.decode(raw, MIXED, max_rows=10))


@given(st.lists(st.tuples(_number, _number), min_size=1, max_size=6), st.booleans())
def test_rows_of_numbers_are_the_same_on_every_way(table: list[tuple[Any, ...]], named: bool) -> None:
    value = [dict(zip(NUMBERS.names, row, strict=True)) if named else list(row) for row in table]
    raw = json.dumps(value).encode()
    assert same(rows.decode_json(raw, NUMBERS, max_rows=10), careful.decode(raw, NUMBERS, max_rows=10))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=12,
)


@given(_json | st.binary(max_size=20))
def test_whatever_comes_is_read_or_refused_in_the_same_way(value: Any) -> None:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()

    def outcome(decoder: Any) -> tuple[str, Any]:
        try:
            decoded = decoder(raw, NUMBERS, max_rows=3)
        except TableError as error:
            return type(error).__name__, str(error)
        return "read", orjson.dumps(decoded.numbers, option=orjson.OPT_SERIALIZE_NUMPY)

    assert outcome(rows.decode_json) == outcome(careful.decode)
