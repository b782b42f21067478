"""A typed pandas frame to typed rows: what training feeds the pipeline.

From ``trainer.table_files``' frames to a Batch that equals, cell by cell, what a request with the
same cells decodes to. pandas is imported by the caller that made the frame, never here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tables import batch, cells
from tables.batch import Batch
from tables.columns import Column, ColumnType, DateForm
from tables.errors import BadSchema
from tables.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

_NO_DATE = np.iinfo(np.int64).min
_FALLBACK_ORIGIN = "1970-01-01T00:00:00"


def make_schema(
    frame: pd.DataFrame,
    types: Mapping[str, ColumnType],
    names: Sequence[str],
    *,
    date_forms: Mapping[str, DateForm] | None = None,
    ignored: Sequence[str] = (),
) -> Schema:
    """The schema of the feature columns ``names`` of the training rows ``frame``.

    A date column's origin is its minimum there (1970 when it has no date at all).
    """
    forms = date_forms or {}
    columns = []
    for name in names:
        origin = _origin(frame, name) if types[name] == "date" else None
        columns.append(Column(name, types[name], origin, forms.get(name, "iso")))
    return Schema(tuple(columns), tuple(ignored))


def from_frame(frame: pd.DataFrame, schema: Schema) -> Batch:
    """Rows of a frame by a schema.

    Columns are float64 (number, boolean), datetime64 (date) or str with ``""`` (text), as
    ``trainer.table_files`` makes them. Raises BadSchema when the frame lacks a column.
    """
    if not set(schema.names) <= set(frame.columns):
        raise BadSchema("the table lacks a column of the schema")
    numbers = [_numbers(frame, column) for column in schema.number_columns]
    texts = [frame[name].to_numpy(dtype=object) for name in schema.text_names]
    return Batch(batch.number_table(numbers, len(frame)), batch.text_table(texts, len(frame)))


def _numbers(frame: pd.DataFrame, column: Column) -> NDArray[np.float64]:
    if column.type != "date":
        return frame[column.name].to_numpy(dtype=np.float64)
    moments = _microseconds(frame, column.name)
    days = (moments - cells.origin_us(column.origin or "")).astype(np.float64) / cells.DAY_US
    days[moments == _NO_DATE] = np.nan
    return days


def _origin(frame: pd.DataFrame, name: str) -> str:
    moments = _microseconds(frame, name)
    known = moments[moments != _NO_DATE]
    return cells.iso(int(known.min())) if len(known) else _FALLBACK_ORIGIN


def _microseconds(frame: pd.DataFrame, name: str) -> NDArray[np.int64]:
    return frame[name].to_numpy(dtype="datetime64[us]").view(np.int64)
