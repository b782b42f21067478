"""The target column: from its cells to class indices or numbers, or to a sentence that refuses it.

First step of a training: decides whether it is a classification or a regression, drops the rows
whose target is missing, and encodes classes as indices 0..k-1 in sorted order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tables.columns import ColumnType
from trainer.spec import Task
from wire import errors

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 4
"""Rows with a target below which nothing can be fitted and judged."""

MAX_CLASSES = 1000
"""Most classes of a target: beyond it, it is a name or a number and not a class."""

LONGEST_CLASS = 1000
"""Most characters of a class: a thousand of them have room in a manifest, and a longer text is no class."""

AUTO_CLASSES = 20
"""Most whole numbers that ``auto`` takes for classes; a target with more of them is a quantity."""

AUTO_ROWS_PER_CLASS = 5
"""Rows each of those classes has on average at least, for ``auto`` to take numbers for classes."""


@dataclass(frozen=True)
class Target:
    """The encoded target.

    ``rows``: bool mask over the table's rows, False where the target is missing. ``values``: one
    entry per True row, int64 class indices or float64. ``classes``: JSON scalars by index, None
    for a regression. ``notes``: what a person should know.
    """

    task: Task
    rows: NDArray[np.bool_]
    values: NDArray[Any]
    classes: tuple[Any, ...] | None
    notes: tuple[str, ...]


def read(frame: pd.DataFrame, types: Mapping[str, ColumnType], name: str, task: Task | None) -> Target:
    """Encode the column ``name`` for ``task`` (None: decide by its content).

    Raises errors.TrainingFailed with a sentence that says what to change.
    """
    if name not in types:
        known = ", ".join(list(types)[:20])
        raise errors.TrainingFailed(f"the table has no column of the target's name; it has {known}")
    kind = types[name]
    if kind == "date":
        raise errors.TrainingFailed("the target holds dates; turn it into a number, such as days from a fixed day")
    column = frame[name].to_numpy(dtype=object if kind == "text" else np.float64)
    rows = column != "" if kind == "text" else ~np.isnan(column)
    present = column[rows]
    _check_rows(len(column), len(present))
    distinct, indices = np.unique(present, return_inverse=True)
    decided = task or _decide(kind, distinct, len(present))
    notes = _notes(kind, task, decided, len(column) - len(present), len(distinct))
    if decided == "regression":
        _check_quantity(kind, len(distinct))
        return Target(decided, rows, present.astype(np.float64), None, notes)
    _check_classes(kind, distinct, len(present))
    return Target(decided, rows, indices.astype(np.int64), tuple(_scalar(kind, one) for one in distinct), notes)


def _check_rows(total: int, present: int) -> None:
    if not present:
        raise errors.TrainingFailed("the target is missing in every row; choose another column")
    if present < MIN_ROWS:
        raise errors.TrainingFailed(
            f"{present} of {total} rows have a target; at least {MIN_ROWS} are needed to fit and judge a model"
        )


def _decide(kind: ColumnType, distinct: NDArray[Any], rows: int) -> Task:
    if kind != "number":
        return "classification"
    whole = bool(np.all(np.mod(distinct, 1) == 0))
    few = len(distinct) <= AUTO_CLASSES and len(distinct) * AUTO_ROWS_PER_CLASS <= rows
    return "classification" if whole and few else "regression"


def _notes(kind: ColumnType, asked: Task | None, task: Task, missing: int, distinct: int) -> tuple[str, ...]:
    notes = []
    if missing:
        notes.append(f"{missing} rows have no target and were left out")
    if asked is None and kind == "number":
        taken = f"{distinct} classes" if task == "classification" else "a quantity"
        notes.append(f"auto took the target's numbers for {taken}; name an estimator to decide otherwise")
    return tuple(notes)


def _check_quantity(kind: ColumnType, distinct: int) -> None:
    if kind != "number":
        words = "texts" if kind == "text" else "true and false"
        raise errors.TrainingFailed(f"the target holds {words}, a regressor needs numbers; name a classifier")
    if distinct == 1:
        raise errors.TrainingFailed("the target has the same value in every row; there is nothing to learn")


def _check_classes(kind: ColumnType, distinct: NDArray[Any], rows: int) -> None:
    count = len(distinct)
    if count == 1:
        raise errors.TrainingFailed("the target has one class in every row; a classifier needs at least two")
    if count > MAX_CLASSES or (count > 2 and count * 2 > rows):
        advice = "name a regressor" if kind == "number" else "choose another column, or merge values into fewer classes"
        raise errors.TrainingFailed(
            f"the target has {count} different values in {rows} rows, too many classes; {advice}"
        )
    longest = max(len(one) for one in distinct) if kind == "text" else 0
    if longest > LONGEST_CLASS:
        raise errors.TrainingFailed(
            f"the target has a text of {longest} characters; a class has at most {LONGEST_CLASS}; choose another column"
        )


def _scalar(kind: ColumnType, value: Any) -> Any:
    """A class as the JSON scalar that predictions show."""
    if kind == "text":
        return str(value)
    if kind == "boolean":
        return bool(value)
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)
