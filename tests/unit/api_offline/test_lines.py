"""Answers as CSV: every row in its place, text that any reader takes apart, numbers as they came."""

from __future__ import annotations

import csv
import io
import json

from api.offline.lines import NOTHING, Answers, Lines
from wire import messages
from wire.row_blocks import Block, Refused


def column(name: str) -> messages.OutputColumn:
    return messages.OutputColumn(name, "text")


def parsed(*pieces: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(pieces).decode(), newline="")))


def test_rows_stand_where_they_stood_and_refused_ones_say_why() -> None:
    lines = Lines([column("id"), column("prediction"), column("error")], ["a", 'b "quoted", c', "d"], shares=0)
    block = Block(4, b"", json.dumps(["1", '"2,5"', "3", "4"]).encode(), (Refused(1, "x must be a number, or so"),))
    answers = Answers([b'"a"', b'"b \\"quoted\\", c"', b'"d"'], [], {2: "has no answer"})
    text, refused = lines.of(block, answers)
    assert refused == 2
    assert parsed(lines.header(), text) == [
        ["id", "prediction", "error"],
        ["1", "a", ""],
        ["2,5", "", "x must be a number, or so"],
        ["3", 'b "quoted", c', ""],
        ["4", "", "has no answer"],
    ]


def test_numbers_are_the_text_of_the_answer() -> None:
    lines = Lines([column("prediction"), column("error")], None, shares=0)
    text, refused = lines.of(Block(2, b""), Answers([b"1.0", b"-2.5e-7"], [], {}))
    assert (text, refused) == (b"1.0,\n-2.5e-7,\n", 0)


def test_each_class_has_its_probability() -> None:
    names = ["prediction", "probability_1", "probability_true", "error"]
    lines = Lines([column(name) for name in names], [1, True], shares=2)
    answers = Answers([b"1", b"true", b""], [b"[0.75,0.25]", b"[0.5,0.5]", b"[]"], {2: "no"})
    text, _ = lines.of(Block(3, b""), answers)
    assert parsed(text) == [["1", "0.75", "0.25", ""], ["true", "0.5", "0.5", ""], ["", "", "", "no"]]


def test_a_block_without_a_readable_row_has_its_lines_all_the_same() -> None:
    lines = Lines([column("prediction"), column("error")], None, shares=0)
    block = Block(2, b"[]", b"", (Refused(0, "a"), Refused(1, "b")))
    assert lines.of(block, NOTHING) == (b",a\n,b\n", 2)
