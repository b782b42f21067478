"""Parquet, JSON lines and samples become the same typed tables as a CSV, or are refused."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tables import frames
from tests.unit.trainer.written_tables import column, parquet, read, refusal
from trainer import csv_source, jsonl_source, parquet_source, table_blocks
from trainer.table_files import find_table, read_table, sample_table
from wire import errors
from wire.samples import SAMPLES, TARGET


def every_parquet_type() -> bytes:
    return parquet(
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


def test_parquet_types_become_ours(tmp_path: Path) -> None:
    table = read(tmp_path, every_parquet_type(), "parquet")
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


@pytest.mark.parametrize(
    ("moment", "kind"),
    [
        (-62_135_596_801, pa.timestamp("s")),
        (253_402_300_800, pa.timestamp("s", "UTC")),
        (10**18, pa.timestamp("ms")),
        (-(2**63) + 1, pa.timestamp("us")),
        (2_932_897, pa.date32()),
        (-719_163 * 86_400_000, pa.date64()),
    ],
)
def test_dates_that_no_text_can_hold_are_refused(tmp_path: Path, moment: int, kind: pa.DataType) -> None:
    stored = pa.array([moment, None], pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    assert "Column 'a' has dates before the year 1" in refusal(tmp_path, parquet(a=stored), "parquet")


def test_the_first_and_last_date_are_read(tmp_path: Path) -> None:
    table = read(tmp_path, parquet(a=pa.array([datetime.min, datetime.max], pa.timestamp("us"))), "parquet")
    assert column(table, "a") == [datetime.min, datetime.max]


def test_memory_that_ran_out_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crowded(*_: object, **__: object) -> None:
        raise pa.lib.ArrowMemoryError("malloc of size 9 failed")

    path = tmp_path / "data.parquet"
    path.write_bytes(parquet(a=pa.array([1])))
    source = parquet_source.ParquetSource(path)
    monkeypatch.setattr(pa.parquet.ParquetFile, "iter_batches", crowded)
    with pytest.raises(MemoryError):
        list(source.blocks())
    monkeypatch.setattr(pa.parquet, "read_schema", crowded)
    with pytest.raises(MemoryError):
        parquet_source.ParquetSource(path)


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
