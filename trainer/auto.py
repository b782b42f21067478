"""What ``auto`` compares: a few sound estimators for the task and the size of the table.

A linear model, bagged trees and boosted trees cover most tables (Grinsztajn et al. 2022 find
tree ensembles ahead on tabular data of these sizes; a linear model wins on small and on linear
ones). Simplest first: of equal candidates the first is taken.
"""

from __future__ import annotations

from trainer.search import Candidate
from trainer.spec import Task

SMALL_ROWS = 1_000
"""Up to here exact boosting beats histograms, whose leaves want 20 rows each."""

LARGE_ROWS = 100_000
"""From here forests are cut short: their trees would fill the memory."""

MANY_CLASSES = 20
"""From here exact boosting, which grows a tree per class and step, is left out."""


def candidates(task: Task, rows: int, classes: int) -> list[Candidate]:
    """The candidates for a table of ``rows`` training rows and ``classes`` classes (0: a regression)."""
    suffix = "Classifier" if task == "classification" else "Regressor"
    forest = {"n_estimators": 100, "max_depth": 16, "min_samples_leaf": 5} if rows >= LARGE_ROWS else {}
    found = [_linear(task), Candidate(f"RandomForest{suffix}", forest)]
    if rows > SMALL_ROWS:
        found.append(Candidate(f"HistGradientBoosting{suffix}", {}))
    elif classes < MANY_CLASSES:
        found.append(Candidate(f"GradientBoosting{suffix}", {}))
    return found


def _linear(task: Task) -> Candidate:
    if task == "classification":
        return Candidate("LogisticRegression", {"max_iter": 1000})
    return Candidate("RidgeCV", {"alphas": [0.01, 0.1, 1.0, 10.0, 100.0]})
