"""From a typed table and a request to arrays: rows to learn from, rows to judge by, classes, columns.

Second step of a training, after reading: everything that is decided before an estimator is
chosen. Holds for every candidate alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tables import frames
from tables.batch import Batch
from tables.schema import Schema
from trainer import feature_choice, holdout, pipeline, target
from trainer.spec import Task
from trainer.table_files import TypedTable
from wire import catalogue, errors, messages, scoring

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Prepared:
    """A table ready to be learnt from.

    ``frame``: the rows that have a target. ``values``: their encoded target; indices from
    ``len(classes)`` on are classes that no training row has (``all_classes`` names them too).
    ``training``: the places of the rows to fit on, in time order where the request has one;
    ``judging``: the places of the holdout, empty when folds judge. ``inputs``: the pipeline's
    input for all rows of ``frame``.
    """

    task: Task
    scoring: str
    frame: pd.DataFrame
    batch: Batch
    inputs: Any
    values: NDArray[Any]
    classes: tuple[Any, ...] | None
    all_classes: tuple[Any, ...] | None
    training: NDArray[np.int64]
    judging: NDArray[np.int64]
    schema: Schema
    facts: pipeline.Facts
    split: holdout.Split
    notes: tuple[str, ...]

    def input_rows(self, places: NDArray[np.int64]) -> Any:
        """The pipeline's input for some rows."""
        return take(self.inputs, places)


def take(inputs: Any, places: NDArray[np.int64]) -> Any:
    """Some rows of a pipeline's input, which is an array or a DataFrame."""
    return inputs.iloc[places] if hasattr(inputs, "iloc") else inputs[places]


def prepare(table: TypedTable, request: messages.TrainRequest) -> Prepared:
    """Decide everything that comes before the choice of an estimator. Raises errors.TrainingFailed."""
    _check(request)
    read = target.read(table.frame, table.types, request.target, catalogue.task(request.estimator))
    judged_by = _scoring(request, read.task)
    frame = table.frame[read.rows].reset_index(drop=True)
    indices = read.values if read.task == "classification" else None
    split = holdout.split(frame, table.types, request.validation, request.model, indices)
    training, judging = np.flatnonzero(~split.holdout), np.flatnonzero(split.holdout)
    if request.validation.order_by is not None:
        training = _in_order(frame, training, request.validation.order_by)
    values, classes, all_classes = _encoded(read, training)
    learnt = frame.iloc[training]
    choice = feature_choice.choose(learnt, table.types, request.target)
    schema = frames.make_schema(learnt, table.types, choice.names, date_forms=table.date_forms, ignored=choice.ignored)
    batch = frames.from_frame(frame, schema)
    known = pipeline.facts(_rows(batch, training), read.task, classes)
    notes = (*read.notes, *choice.notes, *_class_notes(values, training, classes, all_classes))
    return Prepared(
        read.task, judged_by, frame, batch, pipeline.features(batch, schema), values, classes, all_classes,
        training, judging, schema, known, split, notes,
    )  # fmt: skip


def _check(request: messages.TrainRequest) -> None:
    found = catalogue.check(request.estimator, request.params, request.search)
    found += catalogue.check_validation(request.estimator, request.params, request.validation, request.search)
    if request.validation.order_by == request.target:
        found += (errors.FieldError("validation.order_by", "must be another column than the target"),)
    if found:
        raise errors.TrainingFailed("the request does not fit its estimator", errors=found)


def _scoring(request: messages.TrainRequest, task: Task) -> str:
    asked = request.validation.scoring
    found = scoring.check(asked, task)
    if found:
        raise errors.TrainingFailed(f"the target makes this a {task}, and the score is not one of it", errors=found)
    return asked or scoring.DEFAULT[task]


def _in_order(frame: pd.DataFrame, places: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    if name not in frame.columns:
        raise errors.TrainingFailed("the table has no column of the name in validation.order_by")
    # Rows without a moment come first: they may be of any time, so no later row learns less by it.
    order = frame[name].iloc[places].argsort(kind="stable").to_numpy()
    missing = int(frame[name].iloc[places].isna().sum())
    rolled: NDArray[np.int64] = places[np.roll(order, missing)]
    return rolled


def _rows(batch: Batch, places: NDArray[np.int64]) -> Batch:
    return Batch(np.ascontiguousarray(batch.numbers[places]), batch.texts[places])


def _encoded(
    read: target.Target, training: NDArray[np.int64]
) -> tuple[NDArray[Any], tuple[Any, ...] | None, tuple[Any, ...] | None]:
    """The target with the classes of the training rows first, both kinds in sorted order."""
    if read.classes is None:
        if np.ptp(read.values[training]) == 0:
            raise errors.TrainingFailed("the target has the same value in every training row; add rows that differ")
        return read.values, None, None
    learnt = np.unique(read.values[training])
    if len(learnt) < 2:
        raise errors.TrainingFailed("the training rows have one class only; a classifier needs at least two")
    others = np.setdiff1d(np.arange(len(read.classes)), learnt)
    order = np.concatenate([learnt, others])
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    named = tuple(read.classes[index] for index in order)
    return places[read.values], named[: len(learnt)], named


def _class_notes(
    values: NDArray[Any],
    training: NDArray[np.int64],
    classes: tuple[Any, ...] | None,
    all_classes: tuple[Any, ...] | None,
) -> list[str]:
    if classes is None or all_classes is None:
        return []
    notes = []
    unseen = len(all_classes) - len(classes)
    if unseen:
        rows = int((values >= len(classes)).sum())
        notes.append(f"{unseen} classes with {rows} rows are in the holdout only; the model does not know them")
    rare = int((np.bincount(values[training], minlength=len(classes)) < 2).sum())
    if rare:
        notes.append(f"{rare} classes have a single training row and can hardly be learnt")
    return notes
