"""How good predictions are: every figure of a task, and the report behind them.

Takes true and predicted values of rows that were not trained on; gives the figures of
``wire.scoring`` under the same names, and a confusion matrix or a summary of the residuals for
the manifest, both bounded in size. The formulas are scikit-learn's (sklearn.metrics).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from wire import scoring

MAX_MATRIX_CLASSES = 50
"""Most classes of a confusion matrix; the rarer ones are left out of it and counted."""

HISTOGRAM_BINS = 20
"""Bins of the residuals' histogram."""

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Predicted:
    """One prediction per row: int64 class indices or float64 values; probabilities (rows, classes) or None."""

    values: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None


def figures(task: scoring.Task, truth: NDArray[Any], predicted: Predicted) -> dict[str, float]:
    """Every figure that is defined for these rows, by name.

    Class indices beyond the probabilities' columns are classes that the model never saw: they
    count as wrong, and probability figures leave their rows out.
    """
    if not len(truth) or not np.all(np.isfinite(predicted.values)):
        return {}
    names = scoring.names(task)
    found = {name: figure(name, truth, predicted) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def figure(name: str, truth: NDArray[Any], predicted: Predicted) -> float | None:
    """One figure, None where it is not defined (ROC AUC of a single class, or an answer that is not finite)."""
    score = scoring.SCORES[name]
    if not np.all(np.isfinite(predicted.values)):
        return None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if score.probabilities:
            return _probability_figure(name, truth, predicted.probabilities)
        if name == "r2" and (len(truth) < 2 or np.ptp(truth) == 0):
            return None
        value = float(_FORMULAS[name](truth, predicted.values))
    return value if math.isfinite(value) else None


def _macro(formula: Callable[..., Any], average: str = "macro") -> Callable[[NDArray[Any], NDArray[Any]], float]:
    return lambda truth, values: float(formula(truth, values, average=average, zero_division=0))


_FORMULAS: dict[str, Callable[[NDArray[Any], NDArray[Any]], float]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1_macro": _macro(metrics.f1_score),
    "f1_weighted": _macro(metrics.f1_score, "weighted"),
    "precision_macro": _macro(metrics.precision_score),
    "recall_macro": _macro(metrics.recall_score),
    "matthews_corrcoef": metrics.matthews_corrcoef,
    "r2": metrics.r2_score,
    "rmse": metrics.root_mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "median_ae": metrics.median_absolute_error,
    "mape": metrics.mean_absolute_percentage_error,
    "max_error": metrics.max_error,
}


def _probability_figure(name: str, truth: NDArray[Any], table: NDArray[np.float64] | None) -> float | None:
    if table is None:
        return None
    known = truth < table.shape[1]
    truth, table = truth[known], table[known]
    present = np.unique(truth)
    if not len(truth) or not np.all(np.isfinite(table)):
        return None
    if name == "log_loss":
        return float(metrics.log_loss(truth, table, labels=np.arange(table.shape[1])))
    if len(present) < 2:
        return None
    if table.shape[1] == 2:
        return float(metrics.roc_auc_score(truth, table[:, 1]))
    # One class against the rest, over the classes that are there, each of equal weight.
    areas = [metrics.roc_auc_score(truth == index, table[:, index]) for index in present]
    return float(np.mean(areas))


def confusion(truth: NDArray[np.int64], values: NDArray[np.int64], classes: Sequence[Any]) -> dict[str, Any]:
    """The confusion matrix: ``matrix[i][j]`` rows of class i were taken for class j.

    Above MAX_MATRIX_CLASSES, the most frequent classes of the truth are kept; ``left_out`` counts
    the rows that then don't appear.
    """
    counts = np.bincount(truth, minlength=len(classes))
    kept = np.sort(np.lexsort((np.arange(len(counts)), -counts))[:MAX_MATRIX_CLASSES])
    inside = np.isin(truth, kept) & np.isin(values, kept)
    matrix = metrics.confusion_matrix(truth[inside], values[inside], labels=kept) if inside.any() else None
    table = np.zeros((len(kept), len(kept)), dtype=int) if matrix is None else matrix
    return {
        "classes": [classes[index] for index in kept],
        "matrix": table.tolist(),
        "left_out": int(len(truth) - inside.sum()),
    }


def residuals(truth: NDArray[np.float64], values: NDArray[np.float64]) -> dict[str, Any]:
    """The residuals (truth minus prediction): mean, spread, quantiles and, if there can be one, a histogram."""
    left = truth - values
    left = left[np.isfinite(left)]
    if not len(left):
        return {}
    quantiles = {f"q{round(share * 100):02d}": float(np.quantile(left, share)) for share in _QUANTILES}
    found: dict[str, Any] = {"mean": float(left.mean()), "std": float(left.std()), "quantiles": quantiles}
    # Residuals that differ by less than the bins can, or by more than a float holds, have no histogram.
    with suppress(ValueError):
        counts, edges = np.histogram(left, bins=HISTOGRAM_BINS)
        found["histogram"] = {"edges": edges.tolist(), "counts": counts.tolist()}
    return found
