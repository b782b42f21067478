"""From typed columns to a fitted pipeline's shape: what stands before the estimator, and for which.

Takes the schema, what the training rows hold (Facts) and the estimator; gives an unfitted
scikit-learn pipeline that imputes, encodes and scales as that kind of estimator wants it. Only
steps that an ONNX graph knows are used, so what is served is what was fitted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from model_store.runtime import features as runtime_features
from tables.batch import Batch
from tables.schema import Schema
from trainer import estimators
from trainer.spec import Task

ONE_HOT_LEVELS = 30
"""Up to this many different texts, each gets a column of its own."""

TOP_LEVELS = 50
"""Where a column with more has to be one-hot all the same, its most frequent texts get columns."""

BINS = 8
"""Quantile bins of a number column for CategoricalNB, which knows categories only."""

Form = Literal["plain", "nan", "scaled", "positive", "binned"]
"""What an estimator wants of numbers: as they are, also missing, standardised, from 0 to 1, or binned."""

Encoding = Literal["levels", "ordinals", "top_levels", "target_means"]
"""How a text column becomes numbers: a column per text, its rank, a column per frequent text, or
the target's mean among its rows."""

_TREES = ("AdaBoost", "Bagging", "DecisionTree", "ExtraTree", "GradientBoosting", "RandomForest")
_POSITIVE = frozenset({"ComplementNB", "MultinomialNB"})
_POSITIVE_KERNELS = frozenset({"additive_chi2", "chi2"})
_UNSCALED = frozenset({"DummyClassifier", "DummyRegressor", "IsotonicRegression"})


@dataclass(frozen=True)
class Facts:
    """What the training rows hold: the task, the classes, and the different texts of each text column.

    ``classes``: JSON scalars by index, None for a regression. ``levels``: per text column its
    different texts, most frequent first (equal counts in alphabetical order), at most TOP_LEVELS.
    """

    task: Task
    classes: tuple[Any, ...] | None
    levels: tuple[tuple[str, ...], ...]


def facts(batch: Batch, task: Task, classes: tuple[Any, ...] | None) -> Facts:
    """Look at the training rows."""
    return Facts(task, classes, tuple(_levels(batch.texts[:, place]) for place in range(batch.texts.shape[1])))


def features(batch: Batch, schema: Schema) -> Any:
    """The pipeline's input for a batch.

    Float64 (n, k) where all columns are number-like, otherwise a DataFrame with the number
    columns first and then the text columns (object).
    """
    return runtime_features.build(batch.numbers, batch.texts, (*schema.number_names, *schema.text_names))


def build(name: str, params: dict[str, Any], schema: Schema, known: Facts) -> Pipeline:
    """The unfitted pipeline of an estimator of the catalogue with JSON parameters.

    Raises errors.TrainingFailed when a parameter names a class that the target doesn't have.
    """
    model = ("model", estimators.make(name, params, known.classes))
    form = _form(name, params)
    numbers, texts = len(schema.number_names), len(schema.text_names)
    if not texts:
        return Pipeline([*_number_steps(form), model])
    parts: list[tuple[str, Any, list[int]]] = []
    if numbers:
        steps = _number_steps(form)
        parts.append(("numbers", Pipeline(steps) if steps else "passthrough", list(range(numbers))))
    by_encoding: dict[Encoding, list[int]] = {}
    for place, levels in enumerate(known.levels):
        by_encoding.setdefault(_encoding(name, form, levels, known), []).append(place)
    for encoding, places in by_encoding.items():
        encoder = _encoder(encoding, form, [known.levels[place] for place in places], known)
        parts.append((encoding, encoder, [numbers + place for place in places]))
    return Pipeline([("columns", ColumnTransformer(parts, sparse_threshold=0.0)), model])


def _levels(texts: NDArray[Any]) -> tuple[str, ...]:
    counts = Counter(texts.tolist())
    return tuple(nsmallest(TOP_LEVELS, counts, key=lambda text: (-counts[text], text)))


def _is_tree(name: str) -> bool:
    return any(part in name for part in _TREES)


def _form(name: str, params: dict[str, Any]) -> Form:
    if name.startswith("HistGradientBoosting"):
        return "nan"
    if _is_tree(name) or name in _UNSCALED:
        return "plain"
    if name == "CategoricalNB":
        return "binned"
    if name in _POSITIVE or (name == "KernelRidge" and params.get("kernel") in _POSITIVE_KERNELS):
        return "positive"
    return "scaled"


def _number_steps(form: Form) -> list[tuple[str, Any]]:
    if form == "nan":
        return []
    # The median resists outliers. A column that is empty in one fold keeps its place.
    impute = ("impute", SimpleImputer(strategy="median", keep_empty_features=True))
    if form == "plain":
        return [impute]
    if form == "scaled":
        return [impute, ("scale", StandardScaler())]
    if form == "positive":
        # Clipped, because a later row may lie below the training rows' minimum.
        return [impute, ("scale", MinMaxScaler(clip=True))]
    bins = KBinsDiscretizer(BINS, encode="onehot-dense", strategy="quantile", quantile_method="averaged_inverted_cdf")
    return [impute, ("bin", bins)]


def _encoding(name: str, form: Form, levels: tuple[str, ...], known: Facts) -> Encoding:
    if len(levels) <= ONE_HOT_LEVELS:
        return "levels"
    if _is_tree(name):
        return "ordinals"
    multiclass = known.classes is not None and len(known.classes) > 2
    return "top_levels" if multiclass or form in ("positive", "binned") else "target_means"


def _encoder(encoding: Encoding, form: Form, levels: list[tuple[str, ...]], known: Facts) -> Any:
    if encoding == "levels":
        return OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    if encoding == "ordinals":
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    if encoding == "top_levels":
        top = [np.array(sorted(one), dtype=object) for one in levels]
        return OneHotEncoder(categories=top, handle_unknown="ignore", sparse_output=False)
    # The type is said and not guessed: a target of whole numbers looks like classes to it.
    target_type = "binary" if known.task == "classification" else "continuous"
    encode = TargetEncoder(target_type=target_type, random_state=0)
    return Pipeline([("encode", encode), ("scale", StandardScaler())]) if form == "scaled" else encode
