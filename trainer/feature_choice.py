"""Which columns a version learns from: everything but the target and what holds nothing to learn.

Looks at the training rows only, so that the holdout decides nothing. Columns left out are named
in the schema as ignored, and each has a note in the report that says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tables.columns import ColumnType
from wire import errors

if TYPE_CHECKING:
    import pandas as pd

ID_ROWS = 20
"""Rows from which on a text column with a different text in every row counts as an identifier."""


@dataclass(frozen=True)
class Choice:
    """``names``: the feature columns in table order. ``ignored``: the others. ``notes``: why."""

    names: tuple[str, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]


def choose(frame: pd.DataFrame, types: Mapping[str, ColumnType], target: str) -> Choice:
    """Choose among the columns of the training rows. Raises errors.TrainingFailed when none is left."""
    names: list[str] = []
    ignored: list[str] = []
    notes: list[str] = []
    for name, kind in types.items():
        if name == target:
            continue
        reason = _reason(frame[name], kind)
        (ignored if reason else names).append(name)
        if reason:
            notes.append(f"column {name[:100]} was left out: {reason}")
    if not names:
        raise errors.TrainingFailed(
            "no column is left to learn from: besides the target, every column is empty, has one value"
            " in every row, or a different text in every row"
        )
    return Choice(tuple(names), tuple(ignored), tuple(notes))


def _reason(column: pd.Series, kind: ColumnType) -> str:
    present = column[column != ""] if kind == "text" else column.dropna()
    if not len(present):
        return "it is empty in every training row"
    # An absent text is a level of its own and may tell something; an absent number is filled in.
    if (column if kind == "text" else present).nunique() == 1:
        return "it has one value in every training row"
    if kind == "text" and len(present) >= ID_ROWS and present.nunique() == len(present):
        return "it has a different text in every row, like an identifier"
    return ""
