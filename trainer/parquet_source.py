"""Parquet to blocks: declared types become ours, or are refused with a sentence that names the column.

One of the three sources behind ``trainer.table_blocks``. Text columns stay text cells, so that a
table has the same types whichever file carries it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from trainer.column_forms import MOMENT, clean
from trainer.table_blocks import check_names
from wire import errors

BLOCK_ROWS = 65_536
"""Rows read at once."""

_EACH_DAY = {"D": 1, "s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
_FIRST_DAY = (date.min - date(1970, 1, 1)).days
_END_DAY = (date.max - date(1970, 1, 1)).days + 1
_INDEX = re.compile(r"__index_level_\d+__")


class ParquetSource:
    """An opened Parquet file; see ``trainer.table_blocks.Source``."""

    thousands_comma: bool | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            schema = pa.parquet.read_schema(path)
        except MemoryError:
            raise  # of Arrow's kind too, which says nothing about the file
        except (pa.ArrowException, OSError, ValueError):
            raise _damaged() from None
        # pandas stores a row index as a column; it says nothing about the rows.
        fields = [field for field in schema if not _INDEX.fullmatch(field.name)]
        self.names = check_names([field.name for field in fields])
        for name, field in zip(self.names, fields, strict=True):
            _check_type(name, field.type)
        self._stored = dict(zip(self.names, [field.name for field in fields], strict=True))

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows from the start, of some columns or all. Raises errors.BadInput."""
        names = list(columns or self.names)
        stored = [self._stored[name] for name in names]
        try:
            with pa.parquet.ParquetFile(self._path) as file:
                for block in file.iter_batches(BLOCK_ROWS, columns=stored, use_threads=False):
                    arrays = [_ours(name, block.column(self._stored[name])) for name in names]
                    yield pa.RecordBatch.from_arrays(arrays, names=names)
        except MemoryError:
            raise
        except (pa.ArrowException, OSError):
            raise _damaged() from None

    def check(self, name: str, is_text: bool) -> None:
        """Declared types were checked when the file was opened."""


def _damaged() -> errors.BadInput:
    return errors.BadInput("The Parquet file is damaged or incomplete.", hint="Write it again and repeat the upload.")


def _check_type(name: str, kind: pa.DataType) -> None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if _is_text(kind) or _is_number(kind) or _is_date(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return
    hint = "Store it as a number, text, boolean, date or timestamp, or leave it out."
    if pa.types.is_nested(kind):
        hint = "Give each part a column of its own, or leave the column out."
    raise errors.BadInput(f"Column '{name}' has the Parquet type {_spoken(kind)}, which is not supported.", hint=hint)


def _spoken(kind: pa.DataType) -> str:
    return re.split(r"[<\[(]", str(kind), maxsplit=1)[0]


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_number(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal))


def _is_date(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_date, pa.types.is_timestamp))


def _ours(name: str, cells: pa.Array) -> pa.Array:
    """A column as cleaned text, float64 (NaN is null), bool or moments in UTC. Raises errors.BadInput."""
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    kind = cells.type
    if pa.types.is_boolean(kind):
        return cells
    if _is_number(kind):
        numbers = pc.cast(cells, pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if _is_date(kind):
        _check_years(name, cells)
        return _moments(cells)
    return clean(pc.cast(cells, pa.string()))


def _check_years(name: str, cells: pa.Array) -> None:
    """Dates that have no text, most often of a wrong unit; looked at in their own one, as others may not hold them."""
    kind = cells.type
    unit = kind.unit if pa.types.is_timestamp(kind) else "D" if pa.types.is_date32(kind) else "ms"
    first, last = (pc.min_max(cells)[end].value for end in ("min", "max"))
    if first is None or _FIRST_DAY * _EACH_DAY[unit] <= first <= last < _END_DAY * _EACH_DAY[unit]:
        return
    hint = "Perhaps its unit is another one than the file says; leave cells without a date empty."
    raise errors.BadInput(f"Column '{name}' has dates before the year 1 or after 9999.", hint=hint)


def _moments(cells: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(cells.type):
        # Whole microseconds first: a cast alone would round dates before 1970 upwards.
        if cells.type.unit == "ns":
            cells = pc.floor_temporal(cells, unit="microsecond")
        return pc.cast(pc.cast(pc.cast(cells, pa.timestamp("us", cells.type.tz), safe=False), pa.int64()), MOMENT)
    return pc.cast(cells, MOMENT)
