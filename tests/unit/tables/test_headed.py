"""Rows with their columns named once: in any order, a cell means what it means in a row of JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tables import headed, rows
from tables.batch import Batch
from tables.errors import NotJson, RowErrors, TooManyRows
from tests.unit.tables.test_tensors import MIXED, NUMBERS, ROWS, same


def split(columns: list[Any], data: Any, **more: Any) -> bytes:
    return json.dumps({"columns": columns, "data": data, **more}).encode()


def mixed() -> Batch:
    return rows.decode_json(json.dumps(ROWS).encode(), MIXED, max_rows=9)


def test_a_split_table_in_the_schemas_order_is_rows() -> None:
    given = split(list(MIXED.names), ROWS, index=[0, 1, 2])
    assert same(headed.decode_split(given, MIXED, max_rows=9), mixed())


@pytest.mark.parametrize("names", [["city"], ["member", "age"], ["empty"], ["since", "empty", "city"], ["age"]])
def test_a_column_that_a_split_table_does_not_name_is_missing(names: list[str]) -> None:
    cells: dict[str, list[Any]] = {
        "age": [1, None],
        "city": [" Lyon ", 75],
        "member": [True, "false"],
        "since": ["2020-01-03", None],
        "empty": [{}, 1],
    }
    given = split(names, [[cells[name][at] for name in names] for at in (0, 1)])
    wanted = [{name: cells[name][at] for name in names} for at in (0, 1)]
    assert same(
        headed.decode_split(given, MIXED, max_rows=9), rows.decode_json(json.dumps(wanted).encode(), MIXED, max_rows=9)
    )


@pytest.mark.parametrize("order", [[3, 1, 0, 2], [2, 3, 1, 0]])
def test_a_split_table_may_have_any_order_and_columns_without_effect(order: list[int]) -> None:
    names = [MIXED.names[at] for at in order]
    given = split([*names, "empty"], [[*(row[at] for at in order), "x"] for row in ROWS])
    assert same(headed.decode_split(memoryview(given), MIXED, max_rows=9), mixed())


def test_numbers_in_an_order_of_their_own_keep_every_digit() -> None:
    found = headed.decode_split(split(["b", "a"], [[0.1, 1], [2e-300, 3]]), NUMBERS, max_rows=9)
    assert found.numbers.tolist() == [[1.0, 0.1], [3.0, 2e-300]]
    missing = headed.decode_split(split(["b"], [[0.1]]), NUMBERS, max_rows=9)
    assert np.isnan(missing.numbers[0, 0])
    assert missing.numbers[0, 1] == 0.1
    slow = headed.decode_split(split(["b", "a"], [[None, "1"]]), NUMBERS, max_rows=9)
    assert np.isnan(slow.numbers[0, 1])
    assert slow.numbers[0, 0] == 1.0


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (b"[]", "dataframe_split"),
        (b'{"columns":["a"]}', "dataframe_split"),
        (b'{"columns":[[]],"data":[]}', "dataframe_split"),
        (split([], []), "dataframe_split.columns"),
        (split(["zz"], [[1]]), "dataframe_split.columns"),
        (split(["a", "a"], [[1, 2]]), "dataframe_split.columns"),
        (split(["b", "a"], [[1]]), "dataframe_split.data"),
        (split(["b", "a"], [1]), "dataframe_split.data"),
        (split(["b", "a"], {"a": 1}), "dataframe_split.data"),
        (split(["b", "a"], [["x", 1]]), "instances[0].b"),
        (split(["a", "b"], []), "instances"),
    ],
)
def test_what_is_wrong_with_a_split_table_is_said_with_its_place(body: bytes, at: str) -> None:
    with pytest.raises(RowErrors) as caught:
        headed.decode_split(body, NUMBERS, max_rows=9)
    assert caught.value.errors[0][0] == at


def test_no_problem_repeats_a_name_or_a_cell() -> None:
    for body in (split(["hunter2"], [[1]]), split(["a", "hunter2"], [[1, 2]]), split(["b", "a"], [["hunter2", 1]])):
        with pytest.raises(RowErrors) as caught:
            headed.decode_split(body, NUMBERS, max_rows=9)
        assert "hunter2" not in str(caught.value)
    with pytest.raises(RowErrors) as caught:
        headed.decode_csv(b"a,hunter2\n1,2\n", NUMBERS, max_rows=9)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b'{"columns":["b","a"],"data":[[NaN,1]]}'])
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(NotJson):
        headed.decode_split(body, NUMBERS, max_rows=9)


@pytest.mark.parametrize("columns", [["a", "b"], ["b", "a"]])
@pytest.mark.parametrize("cell", [1, None])
def test_too_many_rows_are_refused(columns: list[str], cell: Any) -> None:
    with pytest.raises(TooManyRows):
        headed.decode_split(split(columns, [[cell, 1]] * 10), NUMBERS, max_rows=9)
    with pytest.raises(TooManyRows):
        headed.decode_csv(b"a,b\n" + b"1,2\n" * 10, NUMBERS, max_rows=9)


def test_csv_reads_as_training_data_does() -> None:
    text = (
        '\ufeffcity, since ,age,empty,member\r\n'
        'Paris,2020-01-03,1.5,x,true\r\n'
        '\r\n'
        '" Lyon ",,NA,,False\r\n'
        ',2019-12-31T12:00:00Z,3,,\r\n'
    )  # fmt: skip
    assert same(headed.decode_csv(text.encode(), MIXED, max_rows=9), mixed())
    part = headed.decode_csv(b'city\n"a,\nb"\n', MIXED, max_rows=9)
    assert part.texts.tolist() == [["a,\nb"]]
    assert np.isnan(part.numbers).all()


@pytest.mark.parametrize(
    ("body", "at", "problem"),
    [
        (b"", "the header row", "must name columns"),
        (b"zz\n1\n", "the header row", "must name columns of this model, each once; they are a, b"),
        (b"a,a\n1,2\n", "the header row", "must name columns"),
        (b"a,b\n", "body", "at least one row"),
        (b"a,b\n1\n", "row[0]", "has 1 cells where the header has 2"),
        (b'a,b\n"1"x,2\n', "body", "check its quotes"),
        (b"a,b\n1,\xff\n", "body", "UTF-8"),
        (b"a,b\n1,x\n", "b[0]", "must be a number"),
        (b"a,b\n1,1e999\n", "b[0]", "out of range"),
    ],
)
def test_what_is_wrong_with_csv_is_said_with_its_place(body: bytes, at: str, problem: str) -> None:
    with pytest.raises(RowErrors) as caught:
        headed.decode_csv(body, NUMBERS, max_rows=9)
    ((place, said),) = caught.value.errors
    assert place == at
    assert problem in said
