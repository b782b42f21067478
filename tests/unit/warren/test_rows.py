"""Rows of every kind of table, written as the same JSON."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from warren import rows
from warren.errors import InvalidRows

DAY = datetime.date(2026, 3, 1)
MOMENT = datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.UTC)


def written(table: Any) -> Any:
    return json.loads(rows.encode(table))


def test_lists_and_dicts_are_rows() -> None:
    assert written([[1, 2.5, "a", True, None]]) == [[1, 2.5, "a", True, None]]
    assert written([{"age": 31}, {"plan": "basic"}]) == [{"age": 31}, {"plan": "basic"}]
    assert written({"age": 31}) == [{"age": 31}]
    assert written(row for row in [(1, 2)]) == [[1, 2]]


def test_what_is_missing_is_null() -> None:
    missing = [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), decimal.Decimal("NaN")]
    assert written([missing]) == [[None] * len(missing)]


def test_dates_are_iso_texts() -> None:
    cells = [DAY, MOMENT, pd.Timestamp(MOMENT), np.datetime64("2026-03-01"), np.datetime64("2026-03-01T12:30:00", "ns")]
    assert written([cells]) == [
        [
            "2026-03-01",
            "2026-03-01T12:30:00+00:00",
            "2026-03-01T12:30:00+00:00",
            "2026-03-01T00:00:00",
            "2026-03-01T12:30:00",
        ]
    ]


def test_scalars_of_numpy_and_the_standard_library_are_cells() -> None:
    one = uuid.UUID(int=1)
    cells = [np.int64(3), np.float32(0.5), np.bool_(True), np.str_("x"), decimal.Decimal("1.5"), one, np.array(7)]
    assert written([cells]) == [[3, 0.5, True, "x", 1.5, str(one), 7]]


def test_an_array_is_plain_rows() -> None:
    assert written(np.array([[1.5, np.nan], [2.0, 3.0]])) == [[1.5, None], [2.0, 3.0]]
    assert written(np.arange(4).reshape(2, 2)) == [[0, 1], [2, 3]]
    assert written(np.array([["2026-03-01"]], dtype="datetime64[ns]")) == [["2026-03-01T00:00:00"]]
    assert written(np.array([["a", None]], dtype=object)) == [["a", None]]


def test_a_pandas_frame_is_named_rows() -> None:
    frame = pd.DataFrame(
        {
            "age": [31.0, np.nan],
            "calls": pd.array([1, None], dtype="Int64"),
            "plan": ["basic", None],
            "since": pd.to_datetime(["2026-03-01", None]),
            "kind": pd.Categorical(["x", "y"]),
            "paid": [True, False],
        }
    )
    assert written(frame) == [
        {"age": 31.0, "calls": 1, "plan": "basic", "since": "2026-03-01T00:00:00", "kind": "x", "paid": True},
        {"age": None, "calls": None, "plan": None, "since": None, "kind": "y", "paid": False},
    ]
    assert written(pd.DataFrame([[1, 2]])) == [[1, 2]]


def test_a_polars_frame_is_named_rows() -> None:
    frame = pl.DataFrame({"age": [31.0, None], "since": [DAY, None], "at": [MOMENT, None], "plan": ["basic", None]})
    assert written(frame) == [
        {"age": 31.0, "since": "2026-03-01", "at": "2026-03-01T12:30:00+00:00", "plan": "basic"},
        {"age": None, "since": None, "at": None, "plan": None},
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([{"age": float("inf")}], "rows[0].age is infinite"),
        ([[1], [object()]], "rows[1][0] is a object"),
        ([[datetime.timedelta(1)]], "rows[0][0] is a timedelta"),
        ([[np.timedelta64(1, "D")]], "rows[0][0] is a timedelta64"),
        ([{1: 2}], "rows[0] has a column whose name is a int"),
        (["text"], "rows[0] is a str"),
        ([3], "rows[0] is a int"),
        ("text", "not a str"),
        (3, "not a int"),
        (np.array([1.0]), "reshape(1, -1)"),
        (np.zeros((1, 1, 1)), "this one has 3"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "the same name"),
        (pd.DataFrame({"a": [np.inf]}), "rows[0].a is infinite"),
        (pl.DataFrame({"a": [datetime.timedelta(1)]}), "rows[0].a is a timedelta"),
        (pl.LazyFrame({"a": [1]}), "frame.collect()"),
    ],
)
def test_what_cannot_travel_is_named(table: Any, said: str) -> None:
    with pytest.raises(InvalidRows) as caught:
        rows.encode(table)
    assert said in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "table",
    [
        [[0], [1], [2], [3], [4]],
        np.arange(5).reshape(5, 1),
        pd.DataFrame({"n": range(5)}),
        pl.DataFrame({"n": range(5)}),
    ],
    ids=["list", "array", "pandas", "polars"],
)
def test_a_table_is_cut_into_parts(table: Any) -> None:
    parts = [rows.plain(part) for part in rows.slices(table, 2)]
    assert [len(part) for part in parts] == [2, 2, 1]
    firsts = [part[0]["n"] if isinstance(part[0], dict) else part[0][0] for part in parts]
    assert firsts == [0, 2, 4]


def test_an_iterator_is_read_no_further_than_needed() -> None:
    source = iter([[number] for number in range(100)])
    parts = rows.slices(source, 3)
    assert next(parts) == [[0], [1], [2]]
    assert next(source) == [3]
    assert list(rows.slices({"a": 1}, 3)) == [[{"a": 1}]]
