"""Small tables and fitted pipelines for the generated lists: every estimator, on every kind of table.

Used by ``report`` (what compiles) and ``trusted_types`` (what a stored pipeline may name), and
by their tests. The tables are made from a seed, with missing cells and texts.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import make_classification, make_regression

from tables.batch import Batch
from tables.columns import Column
from tables.schema import Schema
from trainer import pipeline as pipelines
from wire import catalogue

ROWS = 600
"""Rows of a table; two thirds are fitted, the rest are held out."""

_COLUMNS = 5
_ONE_COLUMN = frozenset({"IsotonicRegression"})


class Table(NamedTuple):
    """One table: what it is, its rows, schema, target (class indices or float64) and number of classes."""

    name: str
    batch: Batch
    schema: Schema
    target: NDArray[Any]
    classes: int | None


def tables(estimator: str, rows: int = ROWS) -> list[Table]:
    """The tables for an estimator: numbers alone and beside texts; for a classifier with two and three classes."""
    classifies = catalogue.load().estimators[estimator].kind == "classifier"
    made = []
    for classes in (2, 3) if classifies else (None,):
        batch, target = _numbers(rows, classes)
        if estimator in _ONE_COLUMN:
            batch = Batch(batch.numbers[:, :1], batch.texts)
            return [Table("one number", batch, Schema((Column("n0", "number"),)), target, classes)]
        named = f", {classes} classes" if classes else ""
        made.append(_table(f"numbers{named}", batch, target, classes))
        made.append(_table(f"numbers and texts{named}", Batch(batch.numbers, _texts(rows)), target, classes))
    return made


def _numbers(rows: int, classes: int | None) -> tuple[Batch, NDArray[Any]]:
    if classes is None:
        numbers, target = make_regression(rows, _COLUMNS, noise=5.0, random_state=0)
        target = target - target.min() + 10.0
    else:
        numbers, target = make_classification(
            rows, _COLUMNS, n_informative=4, n_redundant=0, n_classes=classes, random_state=0
        )
    numbers = numbers * np.array([1.0, 10.0, 100.0, 0.1, 1.0])
    numbers[:, -1] = np.round(numbers[:, -1])
    numbers[np.random.default_rng(0).random(numbers.shape) < 0.03] = np.nan
    return Batch(numbers, np.empty((rows, 0), dtype=object)), target


def _texts(rows: int) -> NDArray[Any]:
    random = np.random.default_rng(0)
    few = np.array(["red", "green", "blue", ""], dtype=object)[random.integers(0, 4, rows)]
    many = np.array([f"c{place % 60}" for place in range(rows)], dtype=object)
    return np.stack([few, many], axis=1)


def _table(name: str, batch: Batch, target: NDArray[Any], classes: int | None) -> Table:
    numbers = [Column(f"n{place}", "number") for place in range(batch.numbers.shape[1])]
    texts = [Column(f"t{place}", "text") for place in range(batch.texts.shape[1])]
    return Table(name, batch, Schema((*numbers, *texts)), target, classes)


def fitted(estimator: str, params: dict[str, Any], table: Table) -> Any:
    """The pipeline, fitted on the first two thirds of the table."""
    count = len(table.target) * 2 // 3
    batch = Batch(table.batch.numbers[:count], table.batch.texts[:count])
    classes = None if table.classes is None else tuple(range(table.classes))
    known = pipelines.facts(batch, "regression" if classes is None else "classification", classes)
    pipeline = pipelines.build(estimator, params, table.schema, known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about convergence, mostly: these are not models for use
        return pipeline.fit(pipelines.features(batch, table.schema), table.target[:count])


def held_out(table: Table) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """The last third of the table."""
    count = len(table.target) * 2 // 3
    return table.batch.numbers[count:], table.batch.texts[count:]
