"""What every peer does with a request's rows before scikit-learn sees them.

Imported by each peer's server from its own environment. Reads the model that Warren trained
(``model.joblib``, fetched over HTTP) and turns JSON rows into what its pipeline was fitted on.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

Rows = list[list[Any]]
"""Rows as they come in JSON: numbers, text or null, in the order of the schema."""

FOLDER = Path(os.environ["BENCH_MODEL"])
"""Folder with ``model.joblib`` and ``columns.json`` of the model to serve."""


class Model:
    """A fitted pipeline and the column order it wants."""

    def __init__(self) -> None:
        self.pipeline: Any = joblib.load(FOLDER / "model.joblib")["pipeline"]
        columns = json.loads((FOLDER / "columns.json").read_text())
        self._numbers = [i for i, column in enumerate(columns) if column["type"] != "text"]
        self._texts = [i for i, column in enumerate(columns) if column["type"] == "text"]
        self._names = [columns[i]["name"] for i in (*self._numbers, *self._texts)]

    def predict(self, rows: Rows) -> list[Any]:
        """Predictions for rows as JSON values."""
        answer: list[Any] = self.pipeline.predict(self.features(rows)).tolist()
        return answer

    def features(self, rows: Rows) -> Any:
        """The array or frame the pipeline was fitted on."""
        if not self._texts:
            return np.asarray(rows, dtype=np.float64)
        table = pd.DataFrame(rows)
        frame = pd.concat(
            [table[self._numbers].astype(np.float64), table[self._texts].astype(object).fillna("")], axis=1
        )
        frame.columns = pd.Index(self._names)
        return frame
