"""The file of rows between a trainer and a worker: what is written is read, and a torn file is refused."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import errors, row_blocks
from wire.row_blocks import Block, Refused

BLOCKS = [
    Block(2, b"[[1.0],[2.0]]"),
    Block(3, b"[[1.0]]", b'["a","b","c"]', (Refused(0, "x must be a number"), Refused(2, "x is out of range"))),
    Block(1, b"[]", b"", (Refused(0, "no"),)),
]


def written(blocks: list[Block]) -> bytes:
    file = io.BytesIO()
    for block in blocks:
        row_blocks.write(file, block)
    return file.getvalue()


def test_blocks_are_read_as_they_were_written() -> None:
    assert list(row_blocks.read(io.BytesIO(written(BLOCKS)))) == BLOCKS
    assert [block.readable for block in BLOCKS] == [2, 1, 0]


def test_a_file_that_ends_within_a_block_is_torn_wherever_it_ends() -> None:
    whole = written(BLOCKS[1:2])
    for size in range(1, len(whole)):
        with pytest.raises(errors.MalformedBody):
            list(row_blocks.read(io.BytesIO(whole[:size])))


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff\xff\xff",
        b"\x02\x00\x00\x00[]",
        b"\x01\x00\x00\x00\xff",
        b"\x1b\x00\x00\x00" + b'{"rows":1,"rows_bytes":-10}',
    ],
)
def test_anything_else_is_torn(content: bytes) -> None:
    with pytest.raises(errors.MalformedBody):
        list(row_blocks.read(io.BytesIO(content)))


@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), min_size=2))
def test_quoted_cells_are_read_back_by_a_reader_of_csv(cells: list[str]) -> None:
    line = ",".join(map(row_blocks.quoted, cells)) + "\n"
    assert list(csv.reader(io.StringIO(line, newline=""))) == [cells]


def test_a_cell_is_quoted_only_where_it_has_to_be() -> None:
    assert row_blocks.quoted("Paris") == "Paris"
    assert row_blocks.quoted(" Paris") == '" Paris"'
    assert row_blocks.quoted('a "b", c') == '"a ""b"", c"'
