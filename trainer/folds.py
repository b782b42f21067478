"""Judging by folds: every row is predicted by a model that has not seen it.

Takes an unfitted pipeline and rows; gives out-of-fold predictions and the score of each fold.
Folds are the same for the same rows: stratified for classes, shuffled with a fixed seed, or in
time order (the rows then come in that order).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

from trainer import metrics, preparation
from trainer.spec import Task


@dataclass(frozen=True)
class Folded:
    """What all folds together predicted.

    ``places``: the rows that were predicted (in time order not the first ones). ``predicted``:
    one entry per place. ``scores``: per fold, None where the score is not defined.
    """

    places: NDArray[np.int64]
    predicted: metrics.Predicted
    scores: tuple[float | None, ...]


def splitter(task: Task, values: NDArray[Any], count: int, *, in_time: bool) -> Any:
    """How to cut these rows into at most ``count`` folds; fewer when there are too few rows."""
    if in_time:
        return TimeSeriesSplit(n_splits=max(2, min(count, len(values) - 1)))
    if task == "regression":
        return KFold(n_splits=max(2, min(count, len(values))), shuffle=True, random_state=0)
    # A fold can hold a class only once per row of it; the largest class bounds what is possible.
    largest = int(np.bincount(values).max())
    return StratifiedKFold(n_splits=max(2, min(count, largest)), shuffle=True, random_state=0)


def predict(fitted: Any, inputs: Any, classes: int) -> metrics.Predicted:
    """Predictions of a fitted pipeline; probabilities have a column for each of ``classes`` (0: regression)."""
    values = np.asarray(fitted.predict(inputs)).reshape(-1)
    if not classes:
        return metrics.Predicted(values.astype(np.float64))
    if not hasattr(fitted, "predict_proba"):
        return metrics.Predicted(values.astype(np.int64))
    table = np.zeros((len(values), classes))
    # A fold may lack a class; its column stays 0.
    table[:, fitted.classes_.astype(np.int64)] = fitted.predict_proba(inputs)
    return metrics.Predicted(values.astype(np.int64), table)


def run(
    unfitted: Any,
    inputs: Any,
    values: NDArray[Any],
    cut: Any,
    *,
    scoring: str,
    classes: int,
    on_fold: Callable[[int, int], None],
) -> Folded:
    """Fit and predict fold by fold; ``on_fold(done, total)`` after each. Raises what the estimator raises."""
    parts = list(cut.split(np.zeros(len(values)), values))
    found: list[metrics.Predicted] = []
    scores: list[float | None] = []
    for number, (learn, judge) in enumerate(parts):
        fitted = clone(unfitted).fit(preparation.take(inputs, learn), values[learn])
        found.append(predict(fitted, preparation.take(inputs, judge), classes))
        scores.append(metrics.figure(scoring, values[judge], found[-1]))
        on_fold(number + 1, len(parts))
    tables = [one.probabilities for one in found]
    joined = (
        None if any(table is None for table in tables) else np.concatenate([one for one in tables if one is not None])
    )
    predicted = metrics.Predicted(np.concatenate([one.values for one in found]), joined)
    return Folded(np.concatenate([judge for _, judge in parts]), predicted, tuple(scores))
