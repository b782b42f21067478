"""Tables written into files, and what the trainer reads from them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.table_blocks import Kind
from trainer.table_files import TypedTable, read_table
from wire import errors


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
