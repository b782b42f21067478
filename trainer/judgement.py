"""How good a fitted pipeline is, on rows it has not seen: figures, report, and beside a guess.

Takes the prepared table and the pipeline; gives the score that decides promotions, every figure
of the task, the confusion matrix or the residuals, and the same score of a predictor that
ignores the columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer import estimators, folds, metrics
from trainer.metrics import Predicted
from trainer.preparation import Prepared
from trainer.progress import Progress
from trainer.refusals import HINTS, Warned, refusing
from wire import errors, messages
from wire import scoring as scores

DEFAULT_FOLDS = 5
"""Folds that judge a version without a holdout, where the request names no number."""


@dataclass(frozen=True)
class Judgement:
    """``score`` is the deciding figure (None: not defined); ``metrics`` all of them; ``report`` the rest.

    ``predicted``: the answers for the holdout, row by row; None where folds judged.
    """

    score: float | None
    metrics: dict[str, float]
    report: dict[str, Any]
    predicted: Predicted | None = None


def judge(
    name: str,
    unfitted: Any,
    fitted: Any,
    validation: messages.Validation,
    prepared: Prepared,
    progress: Progress,
    warned: Warned,
) -> Judgement:
    """Judge on the holdout, or by folds where there is none; ``validation.folds`` adds folds to a holdout.

    Raises errors.TrainingFailed when the pipeline has no finite answer for a row.
    """
    report: dict[str, Any] = {}
    folded = None
    if prepared.split.by_folds or validation.folds:
        folded = _folded(name, unfitted, validation, prepared, progress, warned)
        report["cross_validation"] = _fold_report(folded, prepared)
    if not prepared.split.by_folds:
        with refusing(name), warned.collecting():
            predicted = folds.predict(fitted, prepared.input_rows(prepared.judging), len(prepared.classes or ()))
        truth = prepared.values[prepared.judging]
    elif folded is not None:
        predicted, truth = folded.predicted, prepared.values[prepared.training][folded.places]
    else:
        return Judgement(None, {}, {**report, "notes": ["there are too few rows to judge this version by folds"]})
    _check_finite(name, predicted)
    found = metrics.figures(prepared.task, truth, predicted)
    score = found.get(prepared.scoring)
    report |= _details(prepared, truth, predicted)
    report["baseline"] = _baseline(score, validation, prepared)
    return Judgement(score, found, report, None if prepared.split.by_folds else predicted)


def _check_finite(name: str, predicted: metrics.Predicted) -> None:
    if not np.all(np.isfinite(predicted.values)):
        raise errors.TrainingFailed(
            f"{name} has no finite answer for some rows that it was not trained on", hint=HINTS.get(name, "")
        )


def _folded(
    name: str,
    unfitted: Any,
    validation: messages.Validation,
    prepared: Prepared,
    progress: Progress,
    warned: Warned,
) -> folds.Folded | None:
    """The folds' predictions; None where the table is too small for this estimator to be fitted on a part of it."""
    try:
        with refusing(name), warned.collecting():
            return _run(unfitted, validation, prepared, progress)
    except errors.TrainingFailed:
        if prepared.split.by_folds:
            return None
        raise


def _run(unfitted: Any, validation: messages.Validation, prepared: Prepared, progress: Progress | None) -> folds.Folded:
    values = prepared.values[prepared.training]
    in_time = validation.order_by is not None
    cut = folds.splitter(prepared.task, values, validation.folds or DEFAULT_FOLDS, in_time=in_time)
    return folds.run(
        unfitted,
        prepared.input_rows(prepared.training),
        values,
        cut,
        scoring=prepared.scoring,
        classes=len(prepared.classes or ()),
        on_fold=lambda done, total: progress.step(done, total, f"fold {done} of {total}") if progress else None,
    )


def _fold_report(folded: folds.Folded | None, prepared: Prepared) -> dict[str, Any]:
    if folded is None:
        return {"scoring": prepared.scoring, "folds": 0, "scores": []}
    defined = [score for score in folded.scores if score is not None]
    return {
        "scoring": prepared.scoring,
        "folds": len(folded.scores),
        "scores": list(folded.scores),
        "mean": float(np.mean(defined)) if defined else None,
        "std": float(np.std(defined)) if defined else None,
    }


def _details(prepared: Prepared, truth: NDArray[Any], predicted: metrics.Predicted) -> dict[str, Any]:
    if prepared.all_classes is None:
        return {"residuals": metrics.residuals(truth, predicted.values)}
    return {"confusion": metrics.confusion(truth, predicted.values, prepared.all_classes)}


def _baseline(score: float | None, validation: messages.Validation, prepared: Prepared) -> dict[str, Any]:
    """The score of always answering the most frequent class, or the mean, judged on the same rows."""
    kind = "DummyClassifier" if prepared.task == "classification" else "DummyRegressor"
    guess = estimators.make(kind, {}, prepared.classes)
    classes = len(prepared.classes or ())
    if prepared.split.by_folds:
        folded = _run(guess, validation, prepared, None)
        predicted, truth = folded.predicted, prepared.values[prepared.training][folded.places]
    else:
        guess.fit(prepared.input_rows(prepared.training), prepared.values[prepared.training])
        predicted = folds.predict(guess, prepared.input_rows(prepared.judging), classes)
        truth = prepared.values[prepared.judging]
    value = metrics.figure(prepared.scoring, truth, predicted)
    answer = "the most frequent class" if prepared.task == "classification" else "the mean"
    return {"answer": answer, "scoring": prepared.scoring, "score": value, "beaten": _beaten(prepared, score, value)}


def _beaten(prepared: Prepared, score: float | None, guess: float | None) -> bool | None:
    if score is None or guess is None:
        return None
    return score > guess if scores.SCORES[prepared.scoring].more_is_better else score < guess
