"""The models that are measured and the rows they are asked about; the same for every server.

NumPy is loaded when rows are made, not before: see memory.py.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import Any

Row = list[Any]
"""One row: numbers, text or None, in the order of ``Workload.columns``."""

CITIES = ("Graz", "Ghent", "Lyon", "Porto", "Turin")
PLANS = ("basic", "family", "plus")


@dataclass(frozen=True)
class Workload:
    """A model by name: what it is trained on, with which estimator, and its columns' types."""

    name: str
    estimator: str
    params: dict[str, Any] = field(default_factory=dict)
    numbers: int = 4
    texts: int = 0
    training_rows: int = 4_000
    seed: int = 1

    @property
    def columns(self) -> list[dict[str, str]]:
        """Name and type of each feature, in order."""
        numbers = [{"name": f"n{i}", "type": "number"} for i in range(self.numbers)]
        return numbers + [{"name": f"t{i}", "type": "text"} for i in range(self.texts)]

    def rows(self, count: int, seed: int) -> list[Row]:
        """``count`` rows drawn with ``seed``; a table with text columns has missing cells."""
        import numpy as np

        random = np.random.default_rng((self.seed, seed))
        numbers = np.round(random.normal(size=(count, self.numbers)), 6)
        rows: list[Row] = numbers.tolist()
        if not self.texts:
            return rows
        for row in rows:
            words: Row = [str(random.choice(PLANS if i % 2 else CITIES)) for i in range(self.texts)]
            row.extend(words)
            for at in range(len(row)):
                if random.random() < 0.05:
                    row[at] = None
        return rows

    def table(self) -> bytes:
        """The training table as CSV, with the column ``y``: a noisy function of the features."""
        import numpy as np

        random = np.random.default_rng((self.seed, 0))
        rows = self.rows(self.training_rows, 0)
        weights = random.normal(size=self.numbers)
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([column["name"] for column in self.columns] + ["y"])
        for row in rows:
            signal = sum(w * (x or 0.0) for w, x in zip(weights, row[: self.numbers], strict=True))
            signal += sum(0.7 * (len(word) - 4.5) for word in row[self.numbers :] if word)
            writer.writerow([*row, "yes" if signal + random.normal() * 0.5 > 0 else "no"])
        return out.getvalue().encode()


WORKLOADS = (
    Workload("logistic", "LogisticRegression", numbers=4),
    Workload("forest", "RandomForestClassifier", {"n_estimators": 100}, numbers=30, training_rows=2_000),
    Workload("boosting", "GradientBoostingClassifier", {"n_estimators": 200}, numbers=8),
    Workload("mixed", "LogisticRegression", numbers=6, texts=4),
)
"""Logistic regression on 4 features, a 100-tree forest on 30, 200-tree boosting on 8, a mixed table with gaps."""
