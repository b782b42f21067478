"""Decoding takes memory for what a body holds, never for what it says that it holds."""

from __future__ import annotations

import itertools
import json
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tables import headed, joined, plain, rows, tensor_data, tensors
from tables.columns import Column
from tables.errors import RowErrors, TableError
from tables.schema import Schema
from tables.tensors import Tensor

HUGE = 2**31 - 1
"""The largest length of a side that a replica lets pass."""
SCHEMA = Schema((Column("a", "number"), Column("b", "number")))
WIDE = Schema((*(Column(f"c{at}", "number") for at in range(40)), Column("t", "text"), Column("m", "boolean")))
DATATYPES = ["", "BOOL", "BYTES", *tensor_data.NUMBERS]
SHAPES = [(HUGE,), (1, HUGE), (2, HUGE), (10_000, HUGE), (HUGE, 1), (HUGE, HUGE), (2**40, 2**40)]
KINDS = ["", "BOOL", "BYTES", "FP64", "INT64"]
"""A datatype of each kind that JSON is read as."""
COUNT = 2_000


def peak_bytes(decode: Callable[[], Any]) -> int:
    """The most that is allocated at once beyond what there was; a refusal of rows ends it as well as an answer."""
    tracemalloc.start()
    try:
        decode()
    except TableError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def decoded(schema: Schema, datatype: str, shape: tuple[int, ...], data: bytes, raw: bool, name: str = "x") -> Any:
    return tensors.decode([Tensor(name, datatype, shape, memoryview(data), raw)], schema, max_rows=10**6)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize(
    "data", [b"[1]", b"[[1]]", b"[[1],[1]]", b"[[1],[1,1]]", b"[[[1]]]", b'["x"]', b"[null]", b"[]", b"[[]]", b" [ ] "]
)
def test_a_shape_in_json_is_not_believed(datatype: str, data: bytes) -> None:
    for shape in SHAPES:
        assert peak_bytes(lambda shape=shape: decoded(SCHEMA, datatype, shape, data, False)) < 100_000, shape  # type: ignore[misc]
        if datatype:
            with pytest.raises(RowErrors, match=r"must hold \d+ values for its shape"):
                decoded(SCHEMA, datatype, shape, data, False)


@pytest.mark.parametrize("datatype", DATATYPES[1:])
def test_a_shape_of_binary_data_is_not_believed(datatype: str) -> None:
    for shape, data in itertools.product(SHAPES, (b"", b"\x01", b"\xff" * 16, struct.pack("<I", HUGE) + b"x")):
        assert peak_bytes(lambda shape=shape, data=data: decoded(SCHEMA, datatype, shape, data, True)) < 100_000  # type: ignore[misc]
        with pytest.raises(RowErrors):
            decoded(SCHEMA, datatype, shape, data, True)


def test_the_length_of_an_element_is_not_believed() -> None:
    data = b"".join(struct.pack("<I", 2**32 - 1) + b"x" for _ in range(100))
    assert peak_bytes(lambda: decoded(SCHEMA, "BYTES", (50, 2), data, True)) < 100_000


def test_a_width_is_not_believed() -> None:
    for text, width in itertools.product((b"[1]", b"1", b"", b"[[1],[1]]"), (2, HUGE, 2**40, 2**63)):
        assert peak_bytes(lambda text=text, width=width: plain.numbers(text, width)) < 100_000  # type: ignore[misc]
        assert plain.numbers(text, width) is None


def array(cell: bytes) -> bytes:
    return b"[" + b",".join([cell] * COUNT) + b"]"


ARRAYS = {
    "flat": array(b"1"),
    "long": array(b"-12.75e-1"),
    "whole": json.dumps(list(range(10**6, 10**6 + COUNT))).encode(),
    "nested": array(b"[1,2]"),
    "narrow": array(b"[1]"),
    "ragged": b"[" + b",".join([b"[1,2]", b"[3]"] * (COUNT // 2)) + b"]",
    "deep": array(b"[[[1]]]"),
    "empty": array(b"[]"),
    "objects": array(b"{}"),
    "named": array(b'{"a":1}'),
    "nulls": array(b"null"),
    "truths": array(b"true"),
    "texts": json.dumps([str(at) for at in range(COUNT)]).encode(),
    "spaces": b" " * COUNT + b"[" + b" " * COUNT + b"]",
}
"""JSON of every form, some thousand values each."""


def bound_bytes(body: bytes, schema: Schema) -> int:
    """What may be taken: so much for each byte, and for each cell of the rows that the body holds."""
    return 100_000 + 120 * len(body) + 30 * COUNT * len(schema.columns)


def test_values_that_cannot_all_be_there_are_not_even_read() -> None:
    body = ARRAYS["empty"]
    for datatype, shape in itertools.product(DATATYPES[1:], [(COUNT, HUGE), (len(body) + 1,)]):
        assert peak_bytes(lambda of=datatype, at=shape: decoded(SCHEMA, of, at, body, False)) < len(body)  # type: ignore[misc]


@pytest.mark.parametrize("schema", [SCHEMA, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("form", ARRAYS)
def test_json_takes_memory_in_proportion_to_its_bytes(form: str, schema: Schema) -> None:
    body = ARRAYS[form]
    bound = bound_bytes(body, schema)
    for datatype, shape in itertools.product(KINDS, [(HUGE,), (COUNT, HUGE), (COUNT,), (COUNT, 2)]):
        for name in ("x", schema.names[0], schema.names[-1]):
            peak = peak_bytes(lambda at=shape, of=datatype, name=name: decoded(schema, of, at, body, False, name))  # type: ignore[misc]
            assert peak < bound, (datatype, shape, name, peak)
    assert peak_bytes(lambda: rows.decode_json(body, schema, max_rows=10**6)) < bound
    assert peak_bytes(lambda: joined.decode([body, b"[[1,2]]"], schema, max_rows=10**6)) < bound
    split = b'{"columns":["%s"],"data":%s}' % (schema.names[-1].encode(), body)
    assert peak_bytes(lambda: headed.decode_split(split, schema, max_rows=10**6)) < bound


@pytest.mark.parametrize("schema", [SCHEMA, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("datatype", DATATYPES[1:])
def test_binary_data_takes_memory_in_proportion_to_its_bytes(datatype: str, schema: Schema) -> None:
    size = np.dtype(tensor_data.NUMBERS.get(datatype, "u1")).itemsize
    element = struct.pack("<I", 1) + b"1" if datatype == "BYTES" else bytes(size)
    body = element * COUNT
    for shape in [*SHAPES, (COUNT,), (COUNT, 1), (COUNT // 2, 2)]:
        for name in ("x", schema.names[0], schema.names[-1]):
            peak = peak_bytes(lambda at=shape, name=name: decoded(schema, datatype, at, body, True, name))  # type: ignore[misc]
            assert peak < bound_bytes(body, schema), (shape, name, peak)


@pytest.mark.parametrize("schema", [SCHEMA, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize(
    "body",
    [
        b"%s\n" + b"1\n" * COUNT, b"%s\n" + b"\n" * COUNT, b"%s\n" + b"1,2\n" * COUNT,
        b"," * COUNT + b"\n" + b"," * COUNT,
    ],
    ids=["rows", "lines", "ragged", "broad"],
)  # fmt: skip
def test_csv_takes_memory_in_proportion_to_its_bytes(body: bytes, schema: Schema) -> None:
    body = body.replace(b"%s", schema.names[0].encode())
    assert peak_bytes(lambda: headed.decode_csv(body, schema, max_rows=10**6)) < bound_bytes(body, schema)


def test_columns_that_were_not_sent_take_no_more_than_their_cells() -> None:
    for decode in (
        lambda: decoded(WIDE, "UINT8", (COUNT,), bytes(COUNT), True, "c0"),
        lambda: headed.decode_csv(b"m\n" + b"\n0" * COUNT, WIDE, max_rows=COUNT),
    ):
        assert peak_bytes(decode) < 400_000 + 9 * COUNT * len(WIDE.columns)
