"""The models of the load test: scikit-learn's own sets, their rows, and what a right answer is."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Model:
    """A model by name: its data, its estimator, how many numbers a row has, and its classes.

    ``classes`` are in the model's order, None for a regression.
    """

    name: str
    sample: str
    estimator: str
    width: int
    classes: tuple[str, ...] | None
    low: float
    high: float

    def request(self) -> dict[str, Any]:
        """The body of POST /train."""
        return {
            "model": self.name,
            "dataset": {"sample": self.sample},
            "target": "target",
            "estimator": self.estimator,
            "promote": "if_better",
        }

    def rows(self, count: int) -> list[list[float]]:
        """Random rows within the range of the model's columns."""
        return [[round(random.uniform(self.low, self.high), 4) for _ in range(self.width)] for _ in range(count)]

    def problem(self, status: int, text: str, rows: int) -> str | None:
        """What is wrong with an answer to a prediction; None when it is right."""
        if status != 200:
            return f"{status}, not 200"
        answer = json.loads(text)
        if answer["model"] != self.name or len(answer["predictions"]) != rows:
            return "another model or another number of rows than asked for"
        if self.classes is None:
            return None if all(isinstance(value, float) for value in answer["predictions"]) else "not numbers"
        for label, shares in zip(answer["predictions"], answer["probabilities"], strict=True):
            if len(shares) != len(self.classes) or abs(sum(shares) - 1) > 1e-3:
                return "the probabilities are not one per class"
            if label not in self.classes or shares[self.classes.index(label)] < max(shares) - 1e-6:
                return "the label is not the most probable class"
        return None

    def ensure(self, host: str) -> None:
        """Train the model unless it is there. Raises TimeoutError after two minutes."""
        end = time.monotonic() + 120
        job = None
        while time.monotonic() < end:
            if _call(f"{host}/models/{self.name}") is not None:
                return
            if job is None:
                job = (_call(f"{host}/train", self.request()) or {}).get("job_id")
            time.sleep(0.5)
        raise TimeoutError(f"model {self.name} was not there after two minutes")


def _call(address: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            said: dict[str, Any] = json.loads(answer.read())
            return said
    except urllib.error.HTTPError:
        return None


MODELS = (
    Model("load-iris", "iris", "LogisticRegression", 4, ("setosa", "versicolor", "virginica"), 0.1, 7.9),
    Model("load-cancer", "breast_cancer", "RandomForestClassifier", 30, ("benign", "malignant"), 0.0, 30.0),
    Model("load-wine", "wine", "GradientBoostingClassifier", 13, ("class_0", "class_1", "class_2"), 0.1, 20.0),
    Model("load-diabetes", "diabetes", "Ridge", 10, None, -0.1, 0.1),
)
"""The models, the most asked first."""
