"""The models of the mixed run: their tables, their rows, and how a running stack is given them.

Out go CSV tables to the stack, rows to ``cases``, and the fitted pipelines to ``truth``. Between
them the four have every type of column, missing cells, both kinds of task, and two versions.
"""

from __future__ import annotations

import csv
import io
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

Row = list[Any]
"""One row of JSON cells in the order of the model's columns; None is a missing cell."""

WORDS = ("Graz", "Köln", 'the "Hague"', "Porto, Gaia", "back\\slash", "Xylofon")
"""Cells of text columns; the last one never stands in a training table."""
WHOLE = 0.05
"""Share of numbers that are whole, and written without a decimal point."""
MISSING = 0.05
"""Share of missing cells, where a table has them."""
FIRST_DAY = date(2024, 1, 1)
"""The oldest date of a date column."""
TRAIN_TIMEOUT_S = 120.0
"""Seconds a training may take."""


@dataclass(frozen=True)
class Table:
    """A model by name: its columns' types (n, t, b, d for number, text, boolean, date) and its estimator.

    ``classes`` are the labels of its target, none for a regression; ``versions`` are the seeds
    of the tables that its versions are trained on, in order.
    """

    name: str
    estimator: str
    kinds: str
    classes: tuple[str, ...] = ()
    gaps: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    versions: tuple[int, ...] = (1,)

    @property
    def columns(self) -> list[str]:
        """The names, in order."""
        return [f"{kind}{place}" for place, kind in enumerate(self.kinds)]

    def rows(self, count: int, seed: int) -> list[Row]:
        """``count`` rows drawn with ``seed``; hardly two of them are alike."""
        draw = np.random.default_rng((len(self.name), seed))
        columns = [self._column(kind, count, draw, known_only=seed < 100) for kind in self.kinds]
        return [list(cells) for cells in zip(*columns, strict=True)]

    def _column(self, kind: str, count: int, draw: np.random.Generator, known_only: bool) -> list[Any]:
        cells: list[Any]
        if kind == "n":
            cells = np.round(draw.normal(size=count), 6).tolist()
            for at in np.flatnonzero(draw.random(count) < WHOLE).tolist():
                cells[at] = round(3 * cells[at])
        elif kind == "t":
            cells = [WORDS[at] for at in draw.integers(0, len(WORDS) - known_only, count)]
        elif kind == "b":
            cells = (draw.random(count) < 0.5).tolist()
        else:
            cells = [(FIRST_DAY + timedelta(days=int(days))).isoformat() for days in draw.integers(0, 900, count)]
        if self.gaps:
            for at in np.flatnonzero(draw.random(count) < MISSING).tolist():
                cells[at] = None
        return cells

    def training(self, seed: int, count: int = 800) -> bytes:
        """A training table as CSV: the features and ``y``, which follows from them with some noise."""
        rows = self.rows(count, seed)
        draw = np.random.default_rng((seed, count))
        weights = draw.normal(size=len(self.kinds))
        scores = [sum(w * _weight(cell) for w, cell in zip(weights, row, strict=True)) for row in rows]
        values = np.array(scores) + 0.2 * draw.normal(size=count)
        written = io.StringIO()
        lines = csv.writer(written, lineterminator="\n")
        lines.writerow([*self.columns, "y"])
        edges = np.quantile(values, np.linspace(0, 1, max(1, len(self.classes)) + 1)[1:-1])
        for row, value in zip(rows, values, strict=True):
            told = self.classes[int(np.searchsorted(edges, value))] if self.classes else f"{100 * value:.4f}"
            lines.writerow([*(str(cell).lower() if isinstance(cell, bool) else cell for cell in row), told])
        return written.getvalue().encode()


def _weight(cell: Any) -> float:
    if isinstance(cell, str):
        return len(cell) - 4.5 if cell in WORDS else date.fromisoformat(cell).toordinal() % 900 / 900
    return float(cell or 0.0)


TABLES = (
    Table("mix-scores", "LogisticRegression", "nnnn", ("no", "yes"), versions=(1, 2)),
    Table("mix-prices", "Ridge", "nnnnnn", gaps=True),
    Table("mix-visits", "LogisticRegression", "nntbdtn", ("left", "stayed"), gaps=True),
    Table("mix-forest", "RandomForestClassifier", "n" * 10, ("low", "mid", "top"), params={"n_estimators": 30}),
)
"""Numbers alone with two versions, a regression, a mixed table with missing cells, a forest."""


def ensure(url: str, table: Table) -> None:
    """Train what is missing of a model's versions; ``canary`` names the first, ``champion`` the last.

    Raises TimeoutError or RuntimeError when a training does not succeed.
    """
    known = get(url, f"/models/{table.name}")
    there = len(json.loads(known)["versions"]) if known else 0
    for seed in table.versions[there:]:
        dataset = json.loads(post(url, "/datasets", table.training(seed), "text/csv"))["dataset_id"]
        asked = {"model": table.name, "dataset": {"id": dataset}, "target": "y", "estimator": table.estimator}
        body = json.dumps(asked | {"params": table.params, "promote": "always"}).encode()
        _wait(url, json.loads(post(url, "/train", body))["job_id"])
    for alias, version in (("canary", 1), ("champion", len(table.versions))):
        post(url, f"/models/{table.name}/aliases/{alias}", json.dumps({"version": version}).encode(), method="PUT")


def _wait(url: str, job: str) -> None:
    end = time.monotonic() + TRAIN_TIMEOUT_S
    while (state := json.loads(get(url, f"/jobs/{job}") or b"{}"))["status"] in ("queued", "running"):
        if time.monotonic() > end:
            raise TimeoutError(f"job {job} took over {TRAIN_TIMEOUT_S:.0f} s")
        time.sleep(0.2)
    if state["status"] != "succeeded":
        raise RuntimeError(f"job {job}: {state.get('error')}")


def get(url: str, path: str) -> bytes | None:
    """The body of an answer; None for 404. Raises OSError."""
    try:
        with urllib.request.urlopen(url + path, timeout=30) as answer:
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def post(url: str, path: str, body: bytes, kind: str = "application/json", method: str = "POST") -> bytes:
    """The body of the answer to one call. Raises OSError."""
    request = urllib.request.Request(url + path, data=body, headers={"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        data: bytes = answer.read()
        return data
