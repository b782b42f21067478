from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tables import cells, frames, rows
from tables.columns import Column, ColumnType
from tables.schema import Schema
from trainer import column_forms, csv_source, jsonl_source, parquet_source, table_blocks
from trainer.column_forms import Form
from trainer.table_blocks import Kind
from trainer.table_files import TypedTable, find_table, read_table, sample_table
from wire import errors
from wire.samples import SAMPLES, TARGET


def read(folder: Path, raw: bytes | str, kind: Kind = "csv") -> TypedTable:
    path = folder / f"data.{kind}"
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return read_table(path, kind)


def refusal(folder: Path, raw: bytes | str, kind: Kind = "csv") -> str:
    with pytest.raises(errors.BadInput) as caught:
        read(folder, raw, kind)
    return f"{caught.value.message} {caught.value.hint}"


def parquet(**columns: pa.Array) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def column(table: TypedTable, name: str) -> list[Any]:
    values = table.frame[name]
    return [None if pd.isna(value) else value for value in values.tolist()]


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


def test_parquet_types_become_ours(tmp_path: Path) -> None:
    raw = parquet(
        whole=pa.array([1, None, 2**53 + 1]),
        small=pa.array([1, 2, 3], pa.uint8()),
        half=pa.array([0.5, float("nan"), 1], pa.float32()),
        decimal=pa.array([Decimal("1.50"), None, Decimal("2.25")]),
        category=pa.array(["x", None, "x"]).dictionary_encode(),
        large=pa.array([" x ", "NA", "y"], pa.large_string()),
        numerals=pa.array(["1", "2.5", ""]),
        grouped=pa.array(["1,234", "2,345", ""]),
        flag=pa.array([True, None, False]),
        day=pa.array([date(2020, 1, 2), None, date(1900, 1, 1)]),
        day64=pa.array([date(2020, 1, 2), None, None], pa.date64()),
        moment=pa.array([1_500, None, -1], pa.timestamp("ns")),
        zoned=pa.array([datetime(2020, 1, 1, 12), None, None], pa.timestamp("s", "Europe/Berlin")),
        nothing=pa.nulls(3),
        empty=pa.array([None] * 3, pa.int32()),
    )
    table = read(tmp_path, raw, "parquet")
    assert dict(table.types) == {
        "whole": "number",
        "small": "number",
        "half": "number",
        "decimal": "number",
        "category": "text",
        "large": "text",
        "numerals": "number",
        "grouped": "text",
        "flag": "boolean",
        "day": "date",
        "day64": "date",
        "moment": "date",
        "zoned": "date",
        "nothing": "text",
        "empty": "text",
    }
    assert column(table, "whole") == [1.0, None, float(2**53)]
    assert column(table, "half") == [0.5, None, 1.0]
    assert column(table, "decimal") == [1.5, None, 2.25]
    assert column(table, "category") == ["x", "", "x"]
    assert column(table, "large") == ["x", "", "y"]
    assert column(table, "flag") == [1.0, None, 0.0]
    assert column(table, "day") == [pd.Timestamp("2020-01-02"), None, pd.Timestamp("1900-01-01")]
    assert column(table, "day64")[0] == pd.Timestamp("2020-01-02")
    assert column(table, "moment")[::2] == [pd.Timestamp(1, unit="us"), pd.Timestamp(-1, unit="us")]
    assert column(table, "zoned")[0] == pd.Timestamp("2020-01-01T12:00")
    assert table.empty == ("nothing", "empty")


def test_a_pandas_row_index_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    frame.to_parquet(tmp_path / "data.parquet")
    assert list(read_table(tmp_path / "data.parquet", "parquet").frame) == ["a"]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (pa.array([[1]]), "type list"),
        (pa.array([{"x": 1}]), "type struct"),
        (pa.array([b"x"]), "type binary"),
        (pa.array([1], pa.time32("s")), "type time32"),
        (pa.array([1], pa.duration("s")), "type duration"),
        (pa.array([float("inf")]), "infinite"),
        (pa.array([], pa.int8()), "no rows"),
    ],
)
def test_parquet_columns_that_are_not_supported_are_named(tmp_path: Path, array: pa.Array, words: str) -> None:
    assert words in refusal(tmp_path, parquet(a=array), "parquet")


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    raw = parquet(a=pa.array(range(10_000)))
    assert "damaged" in refusal(tmp_path, b"PAR1" + b"x" * 100, "parquet")
    assert "damaged" in refusal(tmp_path, raw[:8] + b"\xff" * 200 + raw[208:], "parquet")
    assert "not Parquet" in refusal(tmp_path, b"a,b\n1,2\n", "parquet")


def test_json_lines_get_the_types_of_a_csv(tmp_path: Path) -> None:
    lines = [
        {"a": 1, "b": "x", "c": True, "d": "2020-01-02", "e": 1},
        {"a": 2.5, "b": None, "c": False, "f": "5", "e": "A1"},
    ]
    table = read(tmp_path, "\n\n".join(map(json.dumps, lines)), "jsonl")
    assert dict(table.types) == {"a": "number", "b": "text", "c": "boolean", "d": "date", "e": "text", "f": "number"}
    assert column(table, "e") == ["1", "A1"]
    assert column(table, "f") == [None, 5.0]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{}\n", "no rows"),
        (b"[1]\n", "Row 1 is not an object"),
        (b'{"a":1}\n{"a":1,}\n', "Row 2 cannot be read: not JSON"),
        (b'{"a":1,"a":2}\n', "same name twice"),
        (b'{"a":[1]}\n', "no number, text, boolean or null"),
        (b'{"a":"\\ud800"}\n', "no number, text, boolean or null"),
        (b'{"\\ud800":1}\n', "half a character"),
        (b'{"a":1e999}\n', "out of range"),
        (b'{"a":1.5}\n{"a":"x"}\n', "mixes fraction, text"),
        (b'{"a":1}\n{"a":true}\n', "mixes boolean, integer"),
        (b'{"":1}\n', "has no name"),
    ],
)
def test_json_lines_that_cannot_be_read_are_refused(tmp_path: Path, raw: bytes, words: str) -> None:
    assert words in refusal(tmp_path, raw, "jsonl")


def test_a_dataset_is_found_by_its_folder(tmp_path: Path) -> None:
    with pytest.raises(errors.DatasetNotFound):
        find_table(tmp_path)
    (tmp_path / "data.parquet").touch()
    assert find_table(tmp_path) == (tmp_path / "data.parquet", "parquet")


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_typed_tables(name: str) -> None:
    table = sample_table(name)
    assert table.types[TARGET] == ("text" if name in {"iris", "wine", "breast_cancer"} else "number")
    assert set(table.types) == set(table.frame.columns)
    assert len(frames.from_frame(table.frame, frames.make_schema(table.frame, table.types, list(table.types))))


def test_an_unknown_sample_is_not_found() -> None:
    with pytest.raises(errors.DatasetNotFound, match="iris"):
        sample_table("boston")


_cells = {
    "number": st.one_of(st.floats(-1e6, 1e6), st.integers(-999, 999)),
    "text": st.sampled_from(["x", "Æ y", 'q"u', "a;b", "new\nline", "-0,5x"]),
    "boolean": st.booleans(),
    "date": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
}
_ORIGIN = "1970-01-01T00:00:00"
_SPELLINGS = {
    "number": ["1", " -2.5", "1e3", "NA", "", "?", "+.5"],
    "text": ["x", " x ", "none", "None", "1", "true", "2020-01-01", ""],
    "boolean": ["true", "FALSE ", "null", "-"],
    "date": ["2020-01-01", "2020-01-01T12:00Z", "2020-01-01 12:00:00.5+01:00", "NaT", "1950/02/03"],
}
_rows = st.lists(
    st.fixed_dictionaries({name: st.none() | cell for name, cell in _cells.items()}), min_size=1, max_size=8
)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _csv(table: list[dict[str, Any]]) -> str:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(_cells)
    for row in table:
        values = ("" if row[name] is None else _plain(row[name]) for name in _cells)
        writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in values])
    return written.getvalue()


def _parquet(table: list[dict[str, Any]]) -> bytes:
    types = {"number": pa.float64(), "text": pa.string(), "boolean": pa.bool_(), "date": pa.timestamp("ns")}
    return parquet(**{name: pa.array([row[name] for row in table], kind) for name, kind in types.items()})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(_rows)
def test_a_table_is_the_same_whichever_way_it_comes(tmp_path: Path, table: list[dict[str, Any]]) -> None:
    plain = [{name: _plain(value) for name, value in row.items()} for row in table]
    first = read(tmp_path, _csv(table))
    schema = frames.make_schema(first.frame, first.types, list(_cells), date_forms=first.date_forms)
    expected = frames.from_frame(first.frame, schema)
    others = [read(tmp_path, "\n".join(map(json.dumps, plain)), "jsonl"), read(tmp_path, _parquet(table), "parquet")]
    assert [dict(other.types) for other in others] == [dict(first.types)] * 2
    decoded = [frames.from_frame(other.frame, schema) for other in others]
    for request in (plain, [[row[name] for name in _cells] for row in plain]):
        decoded.append(rows.decode_json(json.dumps(request).encode(), schema, max_rows=10))
    for batch in decoded:
        assert np.array_equal(batch.numbers, expected.numbers, equal_nan=True)
        assert batch.texts.tolist() == expected.texts.tolist()


@given(st.lists(st.tuples(*[st.sampled_from(_SPELLINGS[name]) for name in _cells]), min_size=1, max_size=6))
def test_cells_of_a_csv_sent_as_json_text_mean_the_same(table: list[tuple[str, ...]]) -> None:
    cleaned = [[column_forms.clean(pa.array([cell]))[0].as_py() for cell in row] for row in table]
    kinds: tuple[ColumnType, ...] = ("number", "text", "boolean", "date")
    schema = Schema(tuple(Column(kind, kind, _ORIGIN if kind == "date" else None) for kind in kinds))
    decoded = rows.decode_json(json.dumps(table).encode(), schema, max_rows=10)
    forms: tuple[Form | None, ...] = ("plain", None, "boolean", "iso")
    for at, (form, column) in enumerate(zip(forms, schema.columns, strict=True)):
        texts = pa.array([row[at] for row in cleaned], pa.string())
        if form is None:
            assert decoded.texts[:, 0].tolist() == texts.fill_null("").to_pylist()
            continue
        values = column_forms.convert(form, texts)
        numbers = values.cast(pa.int64()) if form == "iso" else values
        expected = [None if value is None else float(value) for value in numbers.to_pylist()]
        if form == "iso":
            expected = [None if value is None else value / cells.DAY_US for value in expected]
        got = decoded.numbers[:, schema.number_names.index(column.name)]
        assert [None if np.isnan(value) else value for value in got] == expected


def test_sources_read_only_the_columns_asked_for(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,x\n")
    (tmp_path / "data.jsonl").write_text('{"a":1,"b":"x"}\n')
    (tmp_path / "data.parquet").write_bytes(parquet(a=pa.array([1]), b=pa.array(["x"])))
    sources: list[table_blocks.Source] = [
        csv_source.CsvSource(tmp_path / "data.csv"),
        jsonl_source.JsonlSource(tmp_path / "data.jsonl"),
        parquet_source.ParquetSource(tmp_path / "data.parquet"),
    ]
    for source in sources:
        assert [block.to_pydict() for block in source.blocks(["b"])] == [{"b": ["x"]}]
