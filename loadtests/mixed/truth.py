"""What scikit-learn itself answers: the fitted pipeline of a version, fed with cells read here.

In come rows of a request, out go classes or numbers and probabilities. Shares no code with the
service: cells are converted here once more, from the documented meaning of a column.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadtests.mixed import models
from loadtests.mixed.models import Row

TOLERANCE = 1e-5
"""How far a probability may be from scikit-learn's, or a number in units of ``scale``: the rule of publishing."""


@dataclass(frozen=True)
class Answers:
    """The truth of some rows: ``values`` (n,) are class indices or numbers, ``probabilities`` (n, k) or None."""

    values: NDArray[Any]
    probabilities: NDArray[np.float64] | None


class Truth:
    """One version's pipeline."""

    def __init__(self, url: str, model: str, version: int) -> None:
        """Fetches ``model.joblib`` of the version. Raises OSError."""
        content = models.get(url, f"/models/{model}/versions/{version}/files/model.joblib")
        if content is None:
            raise FileNotFoundError(f"{model} {version} has no model.joblib")
        stored = joblib.load(io.BytesIO(content))
        self.model = model
        self.version = version
        self.classes: list[Any] | None = stored["classes"]
        self._pipeline = stored["pipeline"]
        self._columns: list[dict[str, Any]] = stored["schema"]["columns"]
        self.scale = 1.0

    @property
    def names(self) -> list[str]:
        """The columns in the order of a plain row."""
        return [column["name"] for column in self._columns]

    def answers(self, rows: list[Row]) -> Answers:
        """The truth of rows; cells in the order of ``names``."""
        table = self._input(rows)
        if self.classes is None:
            values = np.asarray(self._pipeline.predict(table), dtype=np.float64).reshape(-1)
            self.scale = max(1.0, float(np.std(values)))
            return Answers(values, None)
        probabilities = np.asarray(self._pipeline.predict_proba(table), dtype=np.float64)
        return Answers(np.asarray(self._pipeline.predict(table)), probabilities)

    def _input(self, rows: list[Row]) -> Any:
        """Number-like columns first, then texts, as the pipeline was fitted."""
        cells = list(zip(*rows, strict=True))
        numbers, texts = {}, {}
        for column, values in zip(self._columns, cells, strict=True):
            if column["type"] == "text":
                texts[column["name"]] = pd.Series(["" if value is None else value for value in values], dtype=object)
            else:
                numbers[column["name"]] = _numbers(column, values)
        if not texts:
            return np.column_stack(list(numbers.values()))
        return pd.DataFrame(numbers | texts)


def _numbers(column: dict[str, Any], values: tuple[Any, ...]) -> NDArray[np.float64]:
    if column["type"] != "date":
        return np.array([np.nan if value is None else float(value) for value in values])
    moments = np.array(["NaT" if value is None else value for value in values], dtype="datetime64[us]")
    since = moments - np.datetime64(column["origin"], "us")
    return np.asarray(since / np.timedelta64(1, "D"), dtype=np.float64)
