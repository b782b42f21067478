"""The figures a version can be judged by, by name, with the direction in which they are better.

Stands where both ends need it: a replica checks ``validation.scoring`` of a training request,
the trainer computes the figure and compares the new version with the champion by it. The
formulas are scikit-learn's (sklearn.metrics) under their usual names.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal

import msgspec

from wire import errors

Task = Literal["classification", "regression"]
"""What kind of value the target holds: one of several classes, or a number."""


class Score(msgspec.Struct, frozen=True):
    """One figure: its task, whether more is better, and whether it needs class probabilities."""

    name: str
    task: Task
    more_is_better: bool
    probabilities: bool = False


SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score("accuracy", "classification", True),
        Score("balanced_accuracy", "classification", True),
        Score("f1_macro", "classification", True),
        Score("f1_weighted", "classification", True),
        Score("precision_macro", "classification", True),
        Score("recall_macro", "classification", True),
        Score("matthews_corrcoef", "classification", True),
        Score("roc_auc", "classification", True, probabilities=True),
        Score("log_loss", "classification", False, probabilities=True),
        Score("r2", "regression", True),
        Score("rmse", "regression", False),
        Score("mae", "regression", False),
        Score("median_ae", "regression", False),
        Score("mape", "regression", False),
        Score("max_error", "regression", False),
    )
}
"""Every score by name."""

DEFAULT: dict[Task, str] = {"classification": "accuracy", "regression": "r2"}
"""The figure that decides where the request names none: the two that people read at a glance."""


def names(task: Task | None = None) -> tuple[str, ...]:
    """The scores of a task, or all of them, in the order of SCORES."""
    return tuple(score.name for score in SCORES.values() if task in (None, score.task))


def check(scoring: str | None, task: Task | None, *, at: str = "validation.scoring") -> tuple[errors.FieldError, ...]:
    """What is wrong with the name of a score; ``task`` None (not known yet) allows every score."""
    if scoring is None:
        return ()
    known = names(task)
    if scoring in known:
        return ()
    near = get_close_matches(scoring, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return (errors.FieldError(at, f"is not a score for this task; one of {', '.join(known)}{hint}"),)
