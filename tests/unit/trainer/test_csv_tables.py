"""A CSV becomes a typed table, or is refused with advice."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.unit.trainer.written_tables import column, read, refusal
from trainer import csv_source, table_blocks
from wire import errors


def test_columns_of_a_csv_get_their_types(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        "\ufeff a ,b,c,d,e,f\r\n"
        '1,x,true,2020-01-31,,k\r\n\r\n -2.5 ,"y, ""z""\nw",FALSE,2020-01-31T12:00:00Z,NA,k\r\n?,NA,,,null,k\r\n',
    )
    assert dict(table.types) == {"a": "number", "b": "text", "c": "boolean", "d": "date", "e": "text", "f": "text"}
    assert column(table, "a") == [1.0, -2.5, None]
    assert column(table, "b") == ["x", 'y, "z"\nw', ""]
    assert column(table, "c") == [1.0, 0.0, None]
    assert column(table, "d") == [pd.Timestamp("2020-01-31"), pd.Timestamp("2020-01-31T12:00"), None]
    assert column(table, "e") == ["", "", ""]
    assert table.empty == ("e",)
    assert table.constant == ("f",)
    assert dict(table.date_forms) == {"d": "iso"}
    assert str(table.frame["d"].dtype) == "datetime64[us]"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found_out(tmp_path: Path, separator: str) -> None:
    table = read(tmp_path, f"a{separator}b\n1{separator}x\n2{separator}y\n")
    assert dict(table.types) == {"a": "number", "b": "text"}


def test_a_table_may_have_one_column(tmp_path: Path) -> None:
    assert column(read(tmp_path, "a\r1\r2"), "a") == [1.0, 2.0]
    assert column(read(tmp_path, "a\nx\n"), "a") == ["x"]


def test_an_uneven_table_still_has_a_separator(tmp_path: Path) -> None:
    assert "line 3 has 2 cells; the header has 3" in refusal(tmp_path, "a;b;c\n1;2;3\n4;5\n1;2;3\n")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a;b\n1,5;x\n2;x\n", [1.5, 2.0]),
        ("a;b\n1,234;x\n2,345;x\n", [1.234, 2.345]),
        ("a;b\n1.234,5;x\n2,25;x\n", [1234.5, 2.25]),
        ('a,b\n"1,234",x\n"2,345",x\n', [1234.0, 2345.0]),
        ('a,b\n"1,5",x\n2,x\n', [1.5, 2.0]),
        ("a,b\n1.234,x\n2,x\n", [1.234, 2.0]),
        ("a,b\n0,x\n1,x\n", [0.0, 1.0]),
    ],
)
def test_numbers_are_read_as_the_column_writes_them(tmp_path: Path, text: str, numbers: list[float]) -> None:
    table = read(tmp_path, text)
    assert table.types["a"] == "number"
    assert column(table, "a") == numbers


@pytest.mark.parametrize(
    ("dates", "form", "first"),
    [
        (["2020-01-02", "31.12.2020"], "day_first", "2020-01-02"),
        (["1.2.2020", "3.4.2020"], "day_first", "2020-02-01"),
        (["1/2/2020", "31/12/2020"], "day_first", "2020-02-01"),
        (["1/2/2020", "12/31/2020"], "month_first", "2020-01-02"),
        (["2020/01/02", "2020-01-03 10:00"], "iso", "2020-01-02"),
    ],
)
def test_dates_are_read_as_the_column_writes_them(tmp_path: Path, dates: list[str], form: str, first: str) -> None:
    table = read(tmp_path, "d\n" + "\n".join(dates) + "\n")
    assert dict(table.date_forms) == {"d": form}
    assert column(table, "d")[0] == pd.Timestamp(first)


@pytest.mark.parametrize(
    "written",
    [
        ["1/2/2020", "3/4/2020"],
        ["31/12/2020", "12/31/2020"],
        ["02134", "10001"],
        ["yes", "no"],
        ["1", "x"],
        ["true", "1"],
        ["inf", "x"],
    ],
)
def test_what_is_not_clear_stays_text(tmp_path: Path, written: list[str]) -> None:
    table = read(tmp_path, "c\n" + "\n".join(written) + "\n")
    assert dict(table.types) == {"c": "text"}
    assert column(table, "c") == written


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "zero bytes"),
        (b"\n\n", "no header"),
        (b"a,b\n", "no rows"),
        (b"a,b,a\n1,2,3\n", "Columns 1 and 3 have the same name 'a'"),
        (b",a\n0,1\n", "Column 1 has no name"),
        (b"a, \n0,1\n", "Column 2 has no name"),
        (b"a\x07,b\n0,1\n", "control characters"),
        (b"x" * 200 + b",b\n0,1\n", "longer than 128 characters"),
        (b"5.1,3.5,setosa\n4.9,3.0,setosa\n", "Add a header line"),
        (b"a,b\n1,2,3\n", "line 2 has 3 cells; the header has 2"),
        (b'a,b\n"x\ny",2\n\n3\n', "line 5 has 1 cells"),
        (b"a,b\n1,caf\xe9\n", "line 2 has other bytes"),
        (b"a,b\n" + b"1,2\n" * 100_000 + b"1,\xe9\n", "line 100002 has other bytes"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\x1f\x8brest", "gzip"),
        (b"PAR1rest", "application/vnd.apache.parquet"),
        (b'a,b\n1,2\n1,"2\n1,2\n', "never closed"),
        (b"a\n1\n-inf\n", "infinite"),
        (b"a\n1\n1e999\n", "infinite"),
        (b"a" * 300_000, "first line is longer"),
        (b'a,b\n1,"' + b"x" * 200_000 + b'"\n2,3\n', "too long"),
        (b"a,b\n" + b"1,2\n" * 200 + b'"' + b"x" * 200_000 + b'"\n', "as many cells"),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused_with_advice(tmp_path: Path, raw: bytes, words: str) -> None:
    assert words in refusal(tmp_path, raw)


def test_a_row_longer_than_a_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 1024 * 1024)
    raw = b"a,b\n" + b"1,2\n" * 200 + b'1,"' + b"x\n" * 2_000_000 + b'"\n'
    assert "longer than 1 MiB" in refusal(tmp_path, raw)


def test_too_many_columns_are_refused() -> None:
    with pytest.raises(errors.BadInput, match="at most 10000"):
        table_blocks.check_names([f"c{at}" for at in range(10_001)])


def test_a_quoted_newline_in_the_last_cell_is_no_open_quote(tmp_path: Path) -> None:
    assert column(read(tmp_path, 'a,b\n1,"x\ny"\n'), "b") == ["x\ny"]


def test_a_marker_in_a_later_block_changes_the_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 64)
    text = "a,b\n" + "1,\n" * 50 + "x,7\n"
    table = read(tmp_path, text)
    assert dict(table.types) == {"a": "text", "b": "number"}
    assert column(table, "b") == [None] * 50 + [7.0]
