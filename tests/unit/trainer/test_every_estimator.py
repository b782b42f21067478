"""Every estimator of the catalogue on small tables: it trains, or says in a sentence why not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tables.columns import ColumnType
from trainer import fit, folds
from trainer.table_files import TypedTable
from wire import catalogue, errors, messages

ROWS = 60
NUMBER = 0  # instead of a count of classes: a target of numbers
CLASSIFIERS = catalogue.names("classifier")
REGRESSORS = catalogue.names("regressor")

REFUSED = {
    ("IsotonicRegression", "numbers"),
    ("IsotonicRegression", "mixed"),
    ("RadiusNeighborsRegressor", "numbers"),
    ("RadiusNeighborsRegressor", "mixed"),
    ("QuadraticDiscriminantAnalysis", "mixed"),
}
"""Pairs that are refused, each for a reason of the estimator's own; a new one is a change to look at."""


def table(kind: str, target: int) -> TypedTable:
    """Sixty rows: three numbers, or numbers with gaps, texts of few and of many levels, a boolean and a date."""
    draw = np.random.default_rng(3)
    signal = draw.normal(size=ROWS)
    frame = pd.DataFrame({"a": signal, "b": draw.normal(size=ROWS), "c": draw.uniform(1, 9, size=ROWS)})
    types: dict[str, ColumnType] = {"a": "number", "b": "number", "c": "number"}
    if kind == "mixed":
        frame.loc[::7, "a"] = np.nan
        frame["few"] = pd.Series(np.where(signal > 0, "up", "down")).where(draw.random(ROWS) > 0.1, "").astype("str")
        frame["many"] = pd.Series([f"level {i % 35}" for i in range(ROWS)]).astype("str")
        frame["flag"] = (draw.random(ROWS) > 0.5).astype(float)
        frame["day"] = pd.Series(pd.date_range("2020-01-01", periods=ROWS, freq="D").astype("datetime64[us]"))
        types |= {"few": "text", "many": "text", "flag": "boolean", "day": "date"}
    if target == NUMBER:
        frame["y"] = np.exp(signal) + 1.0
    else:
        cuts = np.quantile(signal, np.linspace(0, 1, target + 1)[1:-1])
        frame["y"] = pd.Series([f"class {i}" for i in np.digitize(signal, cuts)]).astype("str")
    types["y"] = "number" if target == NUMBER else "text"
    return TypedTable(frame, types, {"day": "iso"} if kind == "mixed" else {})


def request(estimator: str) -> messages.TrainRequest:
    return messages.TrainRequest(
        job_id="j", attempt=1, model="m", dataset=messages.DatasetRef(id="0"), target="y", estimator=estimator
    )


def train(name: str, kind: str, target: int) -> None:
    if (name, kind) in REFUSED:
        with pytest.raises(errors.TrainingFailed, match=rf"^{name} .{{30,}}"):
            fit.fit(table(kind, target), request(name))
        return
    fitted = fit.fit(table(kind, target), request(name))
    assert fitted.score is not None
    inputs = fitted.prepared.inputs
    predicted = folds.predict(fitted.pipeline, inputs, len(fitted.prepared.classes or ()))
    assert np.all(np.isfinite(predicted.values))
    if target != NUMBER:
        assert (predicted.probabilities is not None) == catalogue.has_probabilities(name, {})


@pytest.mark.parametrize("kind", ["numbers", "mixed"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifier_trains_or_says_why_not(name: str, classes: int, kind: str) -> None:
    train(name, kind, classes)


@pytest.mark.parametrize("kind", ["numbers", "mixed"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressor_trains_or_says_why_not(name: str, kind: str) -> None:
    train(name, kind, NUMBER)


@pytest.mark.parametrize("name", ["SVC", "NuSVC", "SGDClassifier"])
def test_probabilities_exist_exactly_where_the_catalogue_says(name: str) -> None:
    rule = catalogue.load().estimators[name].probabilities
    assert isinstance(rule, catalogue.Probabilities)
    options = [False, True] if name != "SGDClassifier" else ["hinge", "log_loss", "modified_huber", "perceptron"]
    for option in options:
        asked = messages.TrainRequest(
            job_id="j",
            attempt=1,
            model="m",
            dataset=messages.DatasetRef(id="0"),
            target="y",
            estimator=name,
            params={rule.param: option},
        )
        fitted = fit.fit(table("numbers", 2), asked)
        assert hasattr(fitted.pipeline, "predict_proba") == catalogue.has_probabilities(name, asked.params)


def test_an_isotonic_regression_takes_one_number_column() -> None:
    small = table("numbers", NUMBER)
    one = TypedTable(small.frame[["a", "y"]], {"a": "number", "y": "number"}, {})
    assert fit.fit(one, request("IsotonicRegression")).score is not None
