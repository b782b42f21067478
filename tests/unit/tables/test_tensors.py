"""Tensors of a request: whatever form they come in, a cell means what it means in a row of JSON."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import pytest

from tables import rows, tensors
from tables.batch import Batch
from tables.columns import Column
from tables.errors import RowErrors, TooManyRows
from tables.schema import Schema
from tables.tensors import Tensor

NUMBERS = Schema((Column("a", "number"), Column("b", "number")))
MIXED = Schema(
    (
        Column("age", "number"),
        Column("city", "text"),
        Column("member", "boolean"),
        Column("since", "date", "2020-01-01T00:00:00"),
    ),
    ("empty",),
)
ROWS: list[list[Any]] = [
    [1.5, "Paris", True, "2020-01-03"],
    [None, " Lyon ", False, None],
    [3, None, None, "2019-12-31T12:00:00Z"],
]


def elements(*texts: str | bytes) -> bytes:
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(struct.pack("<I", len(each)) + each for each in raw)


def raw(name: str, datatype: str, shape: tuple[int, ...], data: bytes) -> Tensor:
    return Tensor(name, datatype, shape, memoryview(data), raw=True)


def plain(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Tensor:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Tensor(name, datatype, shape, memoryview(text), raw=False)


def decoded(schema: Schema, *given: Tensor) -> Batch:
    return tensors.decode(given, schema, max_rows=100)


def same(one: Batch, other: Batch) -> bool:
    return np.array_equal(one.numbers, other.numbers, equal_nan=True) and one.texts.tolist() == other.texts.tolist()


def refused(schema: Schema, *given: Tensor) -> list[tuple[str, str]]:
    with pytest.raises(RowErrors) as caught:
        decoded(schema, *given)
    return list(caught.value.errors)


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("FP16", "<f2"), ("FP32", "<f4"), ("FP64", "<f8"), ("INT8", "i1"), ("INT16", "<i2"), ("INT32", "<i4"),
        ("INT64", "<i8"), ("UINT8", "u1"), ("UINT16", "<u2"), ("UINT32", "<u4"), ("UINT64", "<u8"),
    ],
)  # fmt: skip
def test_a_table_of_any_width_of_number_is_read_row_by_row(datatype: str, dtype: str) -> None:
    table = np.arange(6, dtype=dtype).reshape(3, 2)
    wanted = rows.decode_json(json.dumps(table.tolist()).encode(), NUMBERS, max_rows=9)
    assert same(decoded(NUMBERS, raw("x", datatype, (3, 2), table.tobytes())), wanted)
    assert same(decoded(NUMBERS, plain("x", datatype, (3, 2), table.tolist())), wanted)
    assert same(decoded(NUMBERS, plain("x", datatype, (3, 2), table.reshape(-1).tolist())), wanted)


def test_numbers_lie_aligned_and_in_rows_wherever_the_bytes_came_from() -> None:
    data = b"x" + np.array([[1.0, 2.0]]).tobytes()
    found = tensors.decode(
        [Tensor("x", "FP64", (1, 2), memoryview(data)[1:], raw=True)], NUMBERS, max_rows=1
    ).numbers  # fmt: skip
    assert found.flags.aligned
    assert found.flags.c_contiguous
    assert found.tolist() == [[1.0, 2.0]]


def test_missing_is_nan_in_binary_and_null_in_json() -> None:
    table = np.array([[1.0, math.nan], [math.nan, 2.0]])
    assert same(
        decoded(NUMBERS, raw("x", "FP64", (2, 2), table.tobytes())),
        decoded(NUMBERS, plain("x", "FP64", (2, 2), [[1, None], [None, 2]])),
    )


def test_json_numbers_keep_their_digits_whatever_the_datatype_says() -> None:
    assert decoded(NUMBERS, plain("x", "FP32", (1, 2), b"[0.1,1e-300]")).numbers.tolist() == [[0.1, 1e-300]]


@pytest.mark.parametrize("binary", [True, False])
def test_columns_by_name_are_what_rows_are(binary: bool) -> None:
    wanted = rows.decode_json(json.dumps(ROWS).encode(), MIXED, max_rows=9)
    ages, cities, members, dates = (list(column) for column in zip(*ROWS, strict=True))
    if binary:
        given = (
            raw("since", "BYTES", (3, 1), elements(*(text or "" for text in dates))),
            raw("city", "BYTES", (3,), elements(*(text or "" for text in cities))),
            raw("age", "FP64", (3, 1), np.array(ages, dtype=np.float64).tobytes()),
            raw("member", "FP32", (3,), np.array(members, dtype="<f4").tobytes()),
        )
    else:
        given = (
            plain("since", "BYTES", (3, 1), [[each] for each in dates]),
            plain("city", "BYTES", (3,), cities),
            plain("age", "FP64", (3, 1), ages),
            plain("member", "BOOL", (3,), members),
        )
    assert same(decoded(MIXED, *given), wanted)


def test_a_table_of_texts_is_read_by_the_columns_types() -> None:
    table = elements("1.5", "Paris", "true", "2020-01-03", "", "Lyon", "False", "", "3", "", "", "2019-12-31T12:00:00Z")
    wanted = rows.decode_json(json.dumps(ROWS).encode(), MIXED, max_rows=9)
    assert same(decoded(MIXED, raw("x", "BYTES", (3, 4), table)), wanted)


def test_a_column_that_is_not_sent_is_missing() -> None:
    found = decoded(MIXED, raw("city", "BYTES", (2,), elements("Paris", "Lyon")))
    assert np.isnan(found.numbers).all()
    assert found.texts.tolist() == [["Paris"], ["Lyon"]]
    alone = decoded(MIXED, plain("empty", "INT64", (1,), [1]))
    assert np.isnan(alone.numbers).all()
    assert alone.texts.tolist() == [[""]]


def test_whole_numbers_are_texts_of_a_text_column_and_bytes_are_bool() -> None:
    found = decoded(
        MIXED,
        raw("city", "INT16", (2,), np.array([75, -1], dtype="<i2").tobytes()),
        raw("member", "BOOL", (2,), b"\x00\x01"),
        plain("age", "INT64", (2,), [None, 2**60]),
    )
    assert found.texts.tolist() == [["75"], ["-1"]]
    assert found.numbers[:, 1].tolist() == [0.0, 1.0]
    assert found.numbers[1, 0] == 2.0**60


def test_a_single_tensor_is_the_table_unless_it_names_a_column_and_is_as_narrow() -> None:
    one = Schema((Column("a", "number"),))
    for name, shape in (("a", (2,)), ("a", (2, 1)), ("x", (2,)), ("x", (2, 1))):
        assert decoded(one, plain(name, "FP64", shape, [1, 2])).numbers.tolist() == [[1.0], [2.0]]
    assert decoded(NUMBERS, plain("a", "FP64", (1, 2), [1, 2])).numbers.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("given", "at", "problem"),
    [
        ((plain("x", "FP64", (1, 3), [1, 2, 3]),), "inputs[0].shape", "must be [rows, 2], or send a tensor for each"),
        ((plain("a", "FP64", (1,), [1]), plain("c", "FP64", (1,), [1])), "inputs[1].name", "is no column"),
        ((plain("a", "FP64", (1,), [1]), plain("a", "FP64", (1,), [1])), "inputs[1].name", "another tensor names too"),
        ((plain("a", "FP64", (1, 2), [1, 2]), plain("b", "FP64", (1,), [1])), "inputs[0].shape", "single column"),
        ((plain("a", "FP64", (1,), [1]), plain("b", "FP64", (2,), [1, 2])), "inputs", "the same number of rows"),
        ((plain("a", "FP64", (1, 1, 1), [1]),), "inputs[0].shape", "must be [rows]"),
        ((plain("a", "FP64", (), [1]),), "inputs[0].shape", "must be [rows]"),
        ((plain("a", "FP64", (0,), []),), "inputs", "at least one row"),
        ((plain("x", "FP128", (1, 2), [1, 2]),), "inputs[0].datatype", "must be one of BOOL, BYTES, FP16"),
        ((plain("x", "FP64", (1, 2), [1]),), "inputs[0].data", "must hold 2 values"),
        ((plain("x", "FP64", (2, 2), [[1, 2], [3]]),), "inputs[0].data", "must hold 4 values"),
        ((plain("x", "FP64", (1, 2), [[[1], [2]]]),), "inputs[0].data", "must hold numbers"),
        ((plain("x", "FP64", (1, 2), ["1", 2]),), "inputs[0].data", "must hold numbers"),
        ((plain("x", "FP64", (1, 2), b"[NaN,1]"),), "inputs[0].data", "is not a JSON array"),
        ((plain("x", "FP64", (1, 2), b"1"),), "inputs[0].data", "must hold 2 values"),
        ((plain("x", "INT64", (1, 2), [1, 2.5]),), "inputs[0].data", "must hold whole numbers"),
        ((plain("x", "INT64", (1, 2), [1, True]),), "inputs[0].data", "must hold whole numbers"),
        ((plain("x", "BOOL", (1, 2), [True, 0]),), "inputs[0].data", "must hold true and false"),
        ((plain("x", "BYTES", (1, 2), ["1", 0]),), "inputs[0].data", "must hold texts"),
        ((plain("x", "BYTES", (1, 2), ["1", "x"]),), "inputs[0] (b)[0]", "must be a number"),
        ((raw("x", "BOOL", (1, 2), b"\x00\x01"),), "inputs[0] (a)", "must be of a datatype of numbers"),
        ((raw("x", "FP64", (1, 2), b"1234567"),), "inputs[0]", "must have 16 bytes"),
        ((raw("x", "FP64", (1, 2), np.array([1.0, math.inf]).tobytes()),), "inputs[0][0]", "out of range"),
        ((raw("x", "BYTES", (1, 2), elements("1") + b"\x09\x00\x00\x00x"),), "inputs[0]", "must hold 2 elements"),
        ((raw("x", "BYTES", (1, 2), elements("1")),), "inputs[0]", "must hold 2 elements"),
        ((raw("x", "BYTES", (1, 2), elements("1", "2") + b"\x00"),), "inputs[0]", "must hold 2 elements"),
        ((raw("x", "BYTES", (1, 2), elements("1", b"\xff")),), "inputs[0]", "not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(given: tuple[Tensor, ...], at: str, problem: str) -> None:
    places = refused(NUMBERS, *given)
    assert any(place == at and problem in said for place, said in places), places


@pytest.mark.parametrize(
    ("given", "at", "problem"),
    [
        (plain("member", "FP64", (2,), [1, 0.5]), "inputs[0][1]", "must be true or false"),
        (plain("since", "INT64", (1,), [20200101]), "inputs[0]", "must be of BYTES, with dates as text"),
        (plain("city", "FP64", (1,), [1.5]), "inputs[0]", "must be of BYTES"),
        (plain("since", "BYTES", (2,), ["2020-01-01", "soon"]), "inputs[0][1]", "must be a date"),
        (plain("city", "BYTES", (1,), b'["\\ud800"]'), "inputs[0].data", "is not a JSON array"),
    ],
)
def test_a_column_says_what_it_takes(given: Tensor, at: str, problem: str) -> None:
    ((place, said),) = refused(MIXED, given)
    assert place == at
    assert problem in said


def test_too_many_rows_and_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(TooManyRows):
        decoded(NUMBERS, raw("x", "FP64", (101, 2), bytes(101 * 16)))
    assert refused(NUMBERS, plain("x", "UINT64", (1, 2), b"[1,18446744073709551616]"))
    assert decoded(NUMBERS, plain("x", "UINT64", (1, 2), b"[1,18446744073709551615]")).numbers[0, 1] == 2.0**64
    places = refused(NUMBERS, raw("x", "FP64", (100, 2), np.full((100, 2), np.inf).tobytes()))
    assert len(places) == 16


def test_no_problem_repeats_a_value() -> None:
    for given in (plain("x", "BYTES", (1, 2), ["hunter2", "1"]), plain("x", "FP64", (1, 2), ["hunter2", 1])):
        assert "hunter2" not in str(refused(NUMBERS, given))


def test_no_problem_repeats_a_name() -> None:
    column = plain("hunter2", "FP64", (1,), [1])
    for given in ((column,), (column, column), (plain("a", "FP64", (1,), [1]), column)):
        assert "hunter2" not in str(refused(NUMBERS, *given))
    assert "hunter2" not in str(refused(NUMBERS, plain("x", "hunter2", (1, 2), [1, 2])))


def untyped(name: str, data: Any) -> Tensor:
    return plain(name, "", (), data)


def test_columns_without_a_datatype_are_what_their_cells_say() -> None:
    columns = {name: [row[at] for row in ROWS] for at, name in enumerate(MIXED.names)}
    wanted = rows.decode_json(json.dumps(ROWS).encode(), MIXED, max_rows=9)
    assert same(decoded(MIXED, *(untyped(name, cells) for name, cells in columns.items())), wanted)
    nested = [untyped(name, [[cell] for cell in cells]) for name, cells in columns.items()]
    assert same(decoded(MIXED, *nested), wanted)
    assert same(decoded(MIXED, untyped("x", ROWS)), wanted)


def test_a_table_without_a_datatype_may_be_numbers_or_numbers_as_text() -> None:
    assert decoded(NUMBERS, untyped("x", [[1, 2.5], [3, None]])).numbers[0].tolist() == [1.0, 2.5]
    assert decoded(NUMBERS, untyped("x", [["1", 2]])).numbers.tolist() == [[1.0, 2.0]]
    assert decoded(MIXED, untyped("city", [75, "Paris"])).texts.tolist() == [["75"], ["Paris"]]


@pytest.mark.parametrize(
    ("given", "at"),
    [
        (untyped("a", b"{}"), "inputs[0]"),
        (untyped("a", b"[NaN]"), "inputs[0]"),
        (untyped("a", b"["), "inputs[0]"),
        (untyped("a", []), "inputs"),
        (untyped("a", [[1], [2, 3]]), "inputs[0]"),
        (untyped("a", [[]]), "inputs[0].shape"),
        (untyped("a", [1, [2]]), "inputs[0][1]"),
        (untyped("a", [1, {}]), "inputs[0][1]"),
        (untyped("a", [True]), "inputs[0][0]"),
        (untyped("x", [[1, 2, 3]]), "inputs[0].shape"),
    ],
)
def test_what_is_wrong_without_a_datatype_is_said_too(given: Tensor, at: str) -> None:
    places = refused(NUMBERS, given)
    assert places[0][0] == at, places


def test_many_wrong_cells_are_not_all_told() -> None:
    assert len(refused(NUMBERS, untyped("a", [True] * 50))) == 16
    assert len(refused(NUMBERS, untyped("a", ["x"] * 50))) == 16
