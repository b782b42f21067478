"""Kinds of models by their columns, targets and estimators, the rows that each is asked, and their trainings."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.acceptance.stack import Client, Json, Stack

ROWS = 1_000
Row = list[Any]


@dataclass(frozen=True)
class Kind:
    """A kind of model: its columns by type, its target, and what is trained."""

    name: str
    types: dict[str, str]
    target: Callable[[random.Random, float], Any]
    estimator: str
    probabilities: bool = True
    params: dict[str, int] = field(default_factory=dict)

    def rows(self, count: int, seed: int) -> list[Row]:
        draw = random.Random(f"{self.name}{seed}")
        return [[_cell(draw, kind, self.mixed) for kind in self.types.values()] for _ in range(count)]

    def table(self) -> bytes:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow([*self.types, "y"])
        draw = random.Random(self.name)
        for row in self.rows(300, 0):
            signal = sum(cell for cell in row if isinstance(cell, float)) + draw.gauss(0, 0.5)
            cells = ["true" if cell is True else "false" if cell is False else cell for cell in row]
            writer.writerow([*cells, self.target(draw, signal)])
        return out.getvalue().encode()

    @property
    def mixed(self) -> bool:
        return set(self.types.values()) != {"number"}


def _cell(draw: random.Random, kind: str, gaps: bool) -> Any:
    if gaps and draw.random() < 0.1:
        return None
    if kind == "number":
        return draw.gauss(0, 1)
    if kind == "text":
        return draw.choice(["Graz", "Genève", "Lyon", "São Paulo, BR", 'the "old" town'])
    if kind == "boolean":
        return draw.random() < 0.5
    return f"2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"


NUMBERS = {f"n{at}": "number" for at in range(5)}
MIXED = {"age": "number", "city": "text", "member": "boolean", "since": "date", "spent": "number"}
KINDS = [
    Kind("names", NUMBERS, lambda _draw, signal: "yés" if signal > 0 else "no", "LogisticRegression"),
    Kind(
        "codes",
        NUMBERS,
        lambda _draw, signal: 7 if signal > 0 else 3,
        "RandomForestClassifier",
        params={"n_estimators": 20},
    ),
    Kind("truth", MIXED, lambda _draw, signal: signal > 0, "HistGradientBoostingClassifier", params={"max_iter": 20}),
    Kind("blend", MIXED, lambda _draw, signal: "high" if signal > 0 else "low", "LogisticRegression"),
    Kind("worth", NUMBERS, lambda _draw, signal: round(signal * 100, 3), "Ridge", probabilities=False),
    Kind("price", MIXED, lambda _draw, signal: round(signal, 3), "GradientBoostingRegressor", probabilities=False),
    Kind("near", MIXED, lambda _draw, signal: "far" if signal > 0 else "near", "KNeighborsClassifier"),
]


class TrainedKinds:
    """The models of a stack, one of each kind that was wanted so far; none is trained twice."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._answers: Json = {}

    def answers(self, kinds: Sequence[Kind]) -> Json:
        """One model of each of these kinds; the answers of POST /predict to its rows."""
        missing = [kind for kind in kinds if kind.name not in self._answers]
        with Client(self._stack.url, self._stack.key) as client:
            jobs = {}
            for kind in missing:
                dataset = {"id": client.upload(kind.table())["dataset_id"]}
                how = {"estimator": kind.estimator, "params": kind.params}
                jobs[kind.name] = client.train(model=kind.name, dataset=dataset, target="y", **how)
            for name, job in jobs.items():
                assert client.finished(job)["status"] == "succeeded", name
            self._answers |= {kind.name: _predicted(client, kind) for kind in missing}
        return {kind.name: self._answers[kind.name] for kind in kinds}


def _predicted(client: Client, kind: Kind) -> Json:
    return client.predict(model=kind.name, instances=kind.rows(ROWS, 1), probabilities=kind.probabilities)
