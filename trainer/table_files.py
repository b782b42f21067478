"""A dataset on disk to a typed pandas frame: what a training reads.

From ``<datasets>/<dataset_id>/data.{csv,parquet,jsonl}`` or one of scikit-learn's own sets, into
the trainer's child process. Two passes over the file: the first finds the types, the second
converts block by block, so that memory is bounded by the typed frame and not by the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa

from tables.columns import ColumnType, DateForm
from trainer.column_forms import convert
from trainer.column_types import ColumnFacts, infer
from trainer.table_blocks import Kind, open_source
from wire import errors
from wire.samples import SAMPLES, TARGET

if TYPE_CHECKING:
    import pandas as pd

KINDS: tuple[str, ...] = get_args(Kind)
"""The formats of a dataset, which are also the suffixes of its file."""


@dataclass(frozen=True)
class TypedTable:
    """A table and what its columns are.

    ``frame`` holds float64 (number; boolean as 0 and 1) with NaN, datetime64[us] in UTC (date)
    with NaT, and str with ``""`` for missing (text). ``date_forms`` says how date columns were
    written; ``empty`` and ``constant`` name columns without any value and with only one.
    """

    frame: pd.DataFrame
    types: Mapping[str, ColumnType]
    date_forms: Mapping[str, DateForm]
    empty: tuple[str, ...] = ()
    constant: tuple[str, ...] = ()


def find_table(folder: Path) -> tuple[Path, Kind]:
    """The file of a dataset's folder and its format. Raises errors.DatasetNotFound."""
    for kind in get_args(Kind):
        path = folder / f"data.{kind}"
        if path.is_file():
            return path, kind
    raise errors.DatasetNotFound


def read_table(path: Path, kind: Kind) -> TypedTable:
    """Read a whole dataset. Raises errors.BadInput with a sentence that says what to change."""
    import pandas as pd

    source = open_source(path, kind)
    columns = infer(source)
    parts: list[list[Any]] = [[] for _ in columns]
    for block in source.blocks():
        for facts, cells, collected in zip(columns, block.columns, parts, strict=True):
            collected.append(_typed(facts, cells))
    series = {facts.name: _joined(facts, collected) for facts, collected in zip(columns, parts, strict=True)}
    return TypedTable(
        pd.DataFrame(series),
        {facts.name: facts.type for facts in columns},
        {facts.name: facts.date_form for facts in columns if facts.type == "date"},
        tuple(facts.name for facts in columns if facts.empty),
        tuple(facts.name for facts in columns if facts.distinct == 1 and not facts.missing),
    )


def sample_table(name: str) -> TypedTable:
    """One of scikit-learn's own sets; the target is the column ``target``, classes by their names.

    Raises errors.DatasetNotFound for a name that ``wire.samples`` does not list.
    """
    if name not in SAMPLES:
        raise errors.DatasetNotFound(f"There is no sample of this name; there are {', '.join(SAMPLES)}.")
    from sklearn import datasets

    loaded = getattr(datasets, f"load_{name}")(as_frame=True)
    frame: pd.DataFrame = loaded.frame.astype(np.float64)
    types: dict[str, ColumnType] = dict.fromkeys(frame.columns, "number")
    names = np.asarray(loaded.get("target_names", ()))
    if names.dtype.kind == "U":
        frame[TARGET] = names[loaded.target.to_numpy()]
        frame[TARGET] = frame[TARGET].astype("str")
        types[TARGET] = "text"
    constant = tuple(column for column in frame.columns if frame[column].nunique() == 1)
    return TypedTable(frame, types, {}, (), constant)


def _typed(facts: ColumnFacts, cells: pa.Array) -> Any:
    if facts.type == "text":
        return (cells if pa.types.is_string(cells.type) else pa.nulls(len(cells), pa.string())).fill_null("")
    values = convert(facts.form, cells) if facts.form else cells
    if facts.type == "date":
        return values.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    return values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)


def _joined(facts: ColumnFacts, parts: list[Any]) -> Any:
    import pandas as pd

    if facts.type == "text":
        return pd.Series(pd.array(pa.chunked_array(parts, pa.string()), dtype="str"))
    return pd.Series(np.concatenate(parts))
