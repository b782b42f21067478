"""A table means the same whichever way it comes: as a file of any kind, or as rows of a request."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tables import cells, frames, rows
from tables.columns import Column, ColumnType
from tables.schema import Schema
from tests.unit.trainer.written_tables import parquet, read
from trainer import column_forms
from trainer.column_forms import Form

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
