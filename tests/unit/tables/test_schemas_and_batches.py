from __future__ import annotations

import msgspec
import numpy as np
import pandas as pd
import pytest

from tables import batch, frames
from tables.batch import Batch
from tables.columns import Column
from tables.errors import BadSchema, RowErrors, TooManyRows
from tables.schema import Schema, listed

MIXED = Schema(
    (
        Column("age", "number"),
        Column("city", "text"),
        Column("member", "boolean"),
        Column("since", "date", "2020-01-01T00:00:00", "day_first"),
    ),
    ("nothing",),
)


def test_a_schema_survives_its_stored_forms() -> None:
    assert Schema.decode(MIXED.encode()) == MIXED
    assert Schema.from_builtins(msgspec.json.decode(msgspec.json.encode(MIXED.to_builtins()))) == MIXED


def test_a_schema_knows_its_columns_in_feature_order() -> None:
    assert MIXED.names == ("age", "city", "member", "since")
    assert MIXED.number_names == ("age", "member", "since")
    assert MIXED.text_names == ("city",)
    assert not MIXED.only_numbers
    assert Schema((Column("x", "number"),)).only_numbers


@pytest.mark.parametrize(
    "columns",
    [
        (),
        (Column("a", "number"), Column("a", "text")),
        (Column("a", "colour"),),  # type: ignore[arg-type]
        (Column("a", "date"),),
        (Column("a", "date", "soon"),),
        (Column("a", "date", "2020-01-01", "year_first"),),  # type: ignore[arg-type]
    ],
)
def test_a_schema_that_makes_no_sense_is_refused(columns: tuple[Column, ...]) -> None:
    with pytest.raises(BadSchema):
        Schema(columns)


def test_a_name_may_not_be_both_used_and_ignored() -> None:
    with pytest.raises(BadSchema):
        Schema((Column("a", "number"),), ("a",))


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b'{"columns":[{"name":1,"type":"text"}]}', b"[" * 100_000])
def test_bytes_that_are_no_schema_are_refused(raw: bytes) -> None:
    with pytest.raises(BadSchema):
        Schema.decode(raw)


def test_values_that_are_no_schema_are_refused() -> None:
    with pytest.raises(BadSchema):
        Schema.from_builtins({"columns": 3})


def test_another_format_is_refused() -> None:
    with pytest.raises(BadSchema, match="format 2"):
        Schema.from_builtins(MIXED.to_builtins() | {"format": 2})


def test_long_lists_of_names_are_cut() -> None:
    assert listed(["age", "income"]) == "age, income"
    assert listed([f"column{at}" for at in range(100)], limit=30) == "column0, column1, column2 and 97 more"
    assert listed(["x" * 400, "y"]) == "x" * 400 + " and 1 more"


def test_batches_join_and_part_in_order() -> None:
    numbers = np.arange(10.0).reshape(5, 2)
    texts = batch.text_table([list("abcde")], 5)
    whole = Batch(numbers, texts)
    parts = list(whole.split([2, 0, 3]))
    assert [len(part) for part in parts] == [2, 0, 3]
    joined = batch.concat(parts)
    assert np.array_equal(joined.numbers, numbers)
    assert joined.texts.tolist() == texts.tolist()
    assert batch.concat([whole]) is whole


def test_errors_say_what_and_where() -> None:
    errors = RowErrors(tuple((f"instances[{at}]", "is wrong") for at in range(20)))
    assert len(errors.errors) == 16
    assert "instances[0]: is wrong" in str(errors)
    assert TooManyRows(3).max_rows == 3


FRAME = pd.DataFrame(
    {
        "age": [1.5, np.nan],
        "city": pd.Series(["Paris", ""], dtype="str"),
        "member": [1.0, 0.0],
        "since": np.array(["2020-01-03T12:00", "NaT"], dtype="datetime64[us]"),
        "never": np.array(["NaT", "NaT"], dtype="datetime64[us]"),
    }
)
TYPES = {"age": "number", "city": "text", "member": "boolean", "since": "date", "never": "date"}


def test_a_frame_becomes_rows_by_its_schema() -> None:
    rows = frames.from_frame(FRAME, MIXED)
    assert np.array_equal(rows.numbers, [[1.5, 1.0, 2.5], [np.nan, 0.0, np.nan]], equal_nan=True)
    assert rows.texts.tolist() == [["Paris"], [""]]
    assert rows.numbers.flags.c_contiguous


def test_a_frame_without_a_column_of_the_schema_is_refused() -> None:
    with pytest.raises(BadSchema):
        frames.from_frame(FRAME.drop(columns="city"), MIXED)


def test_the_schema_of_a_frame_starts_dates_at_their_minimum() -> None:
    schema = frames.make_schema(
        FRAME,
        TYPES,  # type: ignore[arg-type]
        ["city", "since", "never"],
        date_forms={"since": "day_first"},
        ignored=["age"],
    )
    assert schema.columns == (
        Column("city", "text"),
        Column("since", "date", "2020-01-03T12:00:00", "day_first"),
        Column("never", "date", "1970-01-01T00:00:00"),
    )
    assert schema.ignored == ("age",)
