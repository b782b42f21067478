"""What a fit decides: folds, time order, classes, columns, repeatability."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.trainer.training import moving, numbers, request, typed
from trainer import fit, metrics, pipeline, preparation
from trainer.table_files import TypedTable
from wire import errors, messages


def test_folds_beside_a_holdout_are_reported() -> None:
    fitted, lines = moving(request("GaussianNB", validation=messages.Validation(folds=4)), numbers(200))
    report = fitted.report["cross_validation"]
    assert report["folds"] == 4
    assert len(report["scores"]) == 4
    assert [line.message for line in lines if line.stage == "judging"][1:] == [f"fold {n} of 4" for n in (1, 2, 3, 4)]
    assert fitted.predicted is not None


def test_a_tiny_table_is_judged_by_folds_over_all_its_rows() -> None:
    fitted = fit.fit(numbers(16), request("GaussianNB"))
    assert fitted.prepared.split.by_folds
    assert fitted.report["rows"] == {"table": 16, "without_target": 0, "training": 16, "holdout": 0}
    assert fitted.report["cross_validation"]["folds"] == 5
    assert fitted.score is not None
    assert sum(map(sum, fitted.report["confusion"]["matrix"])) == 16


def test_a_table_too_small_for_folds_of_its_estimator_is_trained_and_not_judged() -> None:
    table = typed(a=[1.0, 2.0, 8.0, 9.0], y=["x", "x", "z", "z"])
    fitted = fit.fit(table, request("KNeighborsClassifier", params={"n_neighbors": 4}))
    assert fitted.score is None
    assert "too few rows to judge" in " ".join(fitted.report["notes"])


def test_time_order_learns_from_the_past_only() -> None:
    days = np.arange("2020-01-01", "2020-07-19", dtype="datetime64[D]")
    order = np.random.default_rng(1).permutation(len(days))
    table = typed(day=days[order], a=order.astype(float), y=order * 2.0)
    validation = messages.Validation(order_by="day", folds=3)
    fitted = fit.fit(table, request("LinearRegression", validation=validation))
    assert fitted.prepared.training.tolist() == np.argsort(order)[:160].tolist()
    assert fitted.report["cross_validation"]["folds"] == 3
    assert fitted.prepared.split.info["rows"] == 40


def test_time_order_by_a_column_that_is_not_there_is_refused() -> None:
    for share in (0.0, 0.2):
        validation = messages.Validation(order_by="zzz", holdout=share)
        with pytest.raises(errors.TrainingFailed, match="no column of the name"):
            fit.fit(numbers(), request("GaussianNB", validation=validation))


def test_classes_that_only_the_holdout_has_count_as_wrong() -> None:
    table = numbers(300)
    asked = request("LogisticRegression")
    judged = np.flatnonzero(preparation.prepare(table, asked).split.holdout)
    frame = table.frame.copy()
    when = np.arange(300.0)
    when[judged] += 1000
    frame["when"] = when
    frame.loc[when > 1000, "y"] = np.where(frame.loc[when > 1000, "a"] > 0.9, "a new one", frame.loc[when > 1000, "y"])
    types = {**table.types, "when": "number"}
    validation = messages.Validation(order_by="when", holdout=len(judged) / 300)
    fitted = fit.fit(TypedTable(frame, types, {}), request("LogisticRegression", validation=validation))
    assert fitted.prepared.classes == ("c0", "c1")
    assert fitted.prepared.all_classes == ("c0", "c1", "a new one")
    assert "in the holdout only" in " ".join(fitted.report["notes"])
    assert fitted.report["confusion"]["classes"] == ["c0", "c1", "a new one"]
    assert 0 < fitted.metrics["accuracy"] < 1
    assert "log_loss" in fitted.metrics


def test_training_rows_of_one_class_are_refused() -> None:
    table = typed(when=np.arange(100.0), a=np.arange(100.0) % 7, y=["x"] * 80 + ["z"] * 20)
    validation = messages.Validation(order_by="when")
    with pytest.raises(errors.TrainingFailed, match="training rows have one class"):
        fit.fit(table, request("GaussianNB", validation=validation))
    flat = typed(when=np.arange(100.0), a=np.arange(100.0) % 7, y=[1.0] * 80 + [2.0] * 20)
    with pytest.raises(errors.TrainingFailed, match="same value in every training row"):
        fit.fit(flat, request("Ridge", validation=validation))


def test_rare_classes_are_noted() -> None:
    table = typed(a=np.arange(300.0), y=["x", "z"] * 149 + ["once", "twice"])
    notes = " ".join(fit.fit(table, request("GaussianNB")).report["notes"])
    assert "a single training row" in notes or "in the holdout only" in notes


def test_the_same_training_gives_the_same_model() -> None:
    one, other = (fit.fit(numbers(150), request("RandomForestClassifier")) for _ in range(2))
    inputs = one.prepared.inputs
    assert np.array_equal(one.pipeline.predict_proba(inputs), other.pipeline.predict_proba(inputs))


def test_a_guess_that_is_not_beaten_is_noted() -> None:
    draw = np.random.default_rng(0)
    table = typed(a=draw.normal(size=200), y=draw.choice(["x", "x", "x", "z"], size=200))
    fitted = fit.fit(table, request("DummyClassifier"))
    assert fitted.report["baseline"]["beaten"] is False
    assert "no better than a guess" in " ".join(fitted.report["notes"])


def test_warnings_about_the_fit_are_in_the_report() -> None:
    table = numbers(200)
    fitted = fit.fit(table, request("MLPClassifier", params={"max_iter": 2}))
    assert any(text.startswith("ConvergenceWarning") for text in fitted.report["warnings"])
    old = fit.fit(table, request("SVC", params={"probability": True}))
    assert old.report["warnings"] == []


def test_a_request_that_does_not_fit_its_estimator_is_refused_here_too() -> None:
    with pytest.raises(errors.TrainingFailed) as caught:
        fit.fit(numbers(), request("SVC", params={"C": -1}, validation=messages.Validation(order_by="y")))
    assert [error.at for error in caught.value.errors] == ["params.C", "validation.order_by"]
    with pytest.raises(errors.TrainingFailed, match="makes this a classification"):
        fit.fit(numbers(), request("auto", validation=messages.Validation(scoring="r2")))


def test_an_estimator_s_own_refusal_becomes_a_sentence_with_a_hint() -> None:
    table = typed(a=np.arange(120.0), y=np.arange(120.0) - 50)
    with pytest.raises(errors.TrainingFailed, match="GammaRegressor can't be trained on this table") as caught:
        fit.fit(table, request("GammaRegressor"))
    assert "above 0" in caught.value.hint


def levels(count: int, rows: int = 200) -> TypedTable:
    return typed(t=[f"level {row % count}" for row in range(rows)], b=np.arange(rows) % 7, y=np.arange(rows) % 3)


@pytest.mark.parametrize(
    ("estimator", "count", "target", "step"),
    [
        ("LogisticRegression", 30, 3, "levels"),
        ("RandomForestClassifier", 30, 3, "levels"),
        ("RandomForestClassifier", 31, 3, "ordinals"),
        ("LogisticRegression", 31, 3, "top_levels"),
        ("LogisticRegression", 31, 2, "target_means"),
        ("Ridge", 31, 0, "target_means"),
        ("MultinomialNB", 31, 2, "top_levels"),
    ],
)
def test_texts_are_encoded_as_suits_estimator_and_levels(estimator: str, count: int, target: int, step: str) -> None:
    table = levels(count)
    if target:
        table.frame["y"] %= target
    else:
        table.frame["y"] = np.arange(200) % 91 / 7
    fitted = fit.fit(table, request(estimator))
    assert step in fitted.pipeline.named_steps["columns"].named_transformers_


def test_a_table_of_texts_alone_has_no_number_step() -> None:
    table = typed(t=["x", "z"] * 200, u=[f"u{row % 50}" for row in range(400)], y=["p", "q"] * 200)
    fitted = fit.fit(table, request("DecisionTreeClassifier"))
    assert [name for name, _, _ in fitted.pipeline.named_steps["columns"].transformers] == ["levels", "ordinals"]


@pytest.mark.parametrize(
    ("estimator", "params", "steps"),
    [
        ("HistGradientBoostingRegressor", {}, ["model"]),
        ("RandomForestRegressor", {}, ["impute", "model"]),
        ("SVR", {}, ["impute", "scale", "model"]),
        ("KernelRidge", {"kernel": "chi2"}, ["impute", "scale", "model"]),
        ("CategoricalNB", {}, ["impute", "bin", "model"]),
    ],
)
def test_numbers_are_prepared_as_suits_the_estimator(estimator: str, params: dict[str, str], steps: list[str]) -> None:
    prepared = preparation.prepare(numbers(), request("GaussianNB"))
    built = pipeline.build(estimator, params, prepared.schema, prepared.facts)
    assert [name for name, _ in built.steps] == steps


def test_figures_are_left_out_where_they_are_not_defined() -> None:
    one_class = metrics.figures("classification", np.zeros(4, dtype=int), metrics.Predicted(np.zeros(4, dtype=int)))
    assert "roc_auc" not in one_class
    table = np.array([[0.9, 0.1]] * 4)
    single = metrics.Predicted(np.zeros(4, dtype=int), table)
    assert metrics.figure("roc_auc", np.zeros(4, dtype=int), single) is None
    assert metrics.figure("log_loss", np.full(4, 2), single) is None
    assert metrics.figure("r2", np.ones(4), metrics.Predicted(np.ones(4))) is None
    assert metrics.figure("mae", np.array([1.0]), metrics.Predicted(np.array([np.inf]))) is None
    assert metrics.figures("regression", np.ones(2), metrics.Predicted(np.array([1.0, np.nan]))) == {}
    assert metrics.residuals(np.ones(2), np.full(2, np.nan)) == {}


@pytest.mark.parametrize("left", [[476.9, 476.9 + 1e-13, 476.9], [1e17] * 3])
def test_residuals_that_have_no_histogram_have_the_rest(left: list[float]) -> None:
    found = metrics.residuals(np.array(left), np.zeros(len(left)))
    assert "histogram" not in found
    assert found["quantiles"]["q00"] == min(left)


def test_a_confusion_matrix_is_bounded() -> None:
    truth = np.repeat(np.arange(60), np.arange(60, 0, -1))
    found = metrics.confusion(truth, truth, [f"c{index}" for index in range(60)])
    assert len(found["classes"]) == metrics.MAX_MATRIX_CLASSES
    assert found["left_out"] == sum(range(1, 11))
    nothing = metrics.confusion(np.array([0, 1]), np.array([1, 0]), ["a", "b"])
    assert nothing["matrix"] == [[0, 1], [1, 0]]


def test_folds_beside_a_holdout_that_cannot_be_fitted_are_refused() -> None:
    asked = request("KNeighborsClassifier", params={"n_neighbors": 90}, validation=messages.Validation(folds=2))
    with pytest.raises(errors.TrainingFailed, match="n_neighbors"):
        fit.fit(numbers(130), asked)


def test_a_score_that_the_holdout_does_not_define_is_none() -> None:
    table = typed(when=np.arange(200.0), a=np.arange(200.0) % 7, y=["x", "z"] * 80 + ["x"] * 40)
    validation = messages.Validation(order_by="when", scoring="roc_auc")
    fitted = fit.fit(table, request("GaussianNB", validation=validation))
    assert fitted.score is None
    assert fitted.report["baseline"]["beaten"] is None
    assert "accuracy" in fitted.metrics
