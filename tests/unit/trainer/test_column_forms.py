from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tables import cells
from trainer import column_forms
from trainer.column_forms import Form
from trainer.column_types import TEXT_FORMS

_TRICKY = [
    "1",
    "-1.5",
    "+2",
    ".5",
    "5.",
    "1e5",
    "007",
    "-01",
    "0",
    "1e999",
    "inf",
    "NAN",
    "-nan",
    "0x1",
    "1_0",
    "1,5",
    "1.234,5",
    "1,234.5",
    "1,234",
    "12,34",
    "0,5",
    "true",
    "FALSE",
    "yes",
    "2020-01-31",
    "2020/01/31",
    "2020-02-30",
    "2020-01-31T10:00",
    "2020-01-31 10:00:00.123456",
    "2020-01-31T10:00:00.1234567",
    "2020-01-31T10:00:00Z",
    "2020-01-31T10:00+02:00",
    "2020-01-31T24:00",
    "2020-01-31T10",
    "20200131",
    "31.12.2020",
    "31/12/2020",
    "12/31/2020",
    "1-2-2020",
    "1.2-2020",
    "Paris",
    "\u0661",
    "1 2",
]
_cell = st.one_of(
    st.none(), st.sampled_from(_TRICKY), st.text(max_size=4), st.floats().map(repr), st.integers().map(str)
)


def _cells(form: Form, texts: list[str | None]) -> list[Any] | None:
    """What the column should read as, cell by cell."""
    values = [None if text is None else column_forms.one_cell(form, text) for text in texts]
    wrong = any(value is None and text is not None for value, text in zip(values, texts, strict=True))
    return None if wrong else values


@pytest.mark.parametrize("form", TEXT_FORMS)
@given(texts=st.lists(_cell, max_size=5))
def test_a_column_reads_as_its_cells_do(form: Form, texts: list[str | None]) -> None:
    cleaned = [None if text is None else (cells.clean(text) or None) for text in texts]
    column = column_forms.read(form, pa.array(cleaned, pa.string()))
    expected = _cells(form, cleaned)
    assert (column is None) == (expected is None)
    if column is not None and column.type == column_forms.MOMENT:
        column = column.cast(pa.int64())
    assert column is None or column.to_pylist() == expected


@pytest.mark.parametrize("form", TEXT_FORMS)
@pytest.mark.parametrize("text", _TRICKY)
def test_a_late_cell_decides_as_an_early_one(form: Form, text: str) -> None:
    fitting = next(each for each in _TRICKY if column_forms.one_cell(form, each) is not None)
    column = column_forms.read(form, pa.array([fitting] * 40 + [text]))
    expected = column_forms.one_cell(form, text)
    assert (column is None) == (expected is None)


@given(st.lists(st.none() | st.text(max_size=6) | st.sampled_from([" NA ", "\u00a0x\u2003", "\x1c1", "?"])))
def test_columns_are_cleaned_as_cells_are(texts: list[str | None]) -> None:
    cleaned = column_forms.clean(pa.array(texts, pa.string())).to_pylist()
    assert cleaned == [None if text is None else (cells.clean(text) or None) for text in texts]


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        ("comma", "1.234.567,5", 1234567.5),
        ("comma", "-0,25", -0.25),
        ("comma", "12", 12.0),
        ("grouped", "1,234,567.5", 1234567.5),
        ("grouped", "12.5", 12.5),
        ("plain", "-inf", -math.inf),
    ],
)
def test_numbers_are_read_in_their_columns_form(form: Form, text: str, value: float) -> None:
    assert column_forms.convert(form, pa.array([text])).to_pylist() == [value]
