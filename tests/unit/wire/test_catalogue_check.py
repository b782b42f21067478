"""The check of estimators and parameters that a replica makes without scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from wire import catalogue, errors, messages, parameters, scoring


def problems(found: tuple[errors.FieldError, ...]) -> dict[str, str]:
    return {error.at: error.problem for error in found}


def space(kind: Any = "grid", candidates: int = 20, folds: int = 3, **values: Any) -> messages.Search:
    return messages.Search(space=values, kind=kind, candidates=candidates, folds=folds)


class Watched(list[Any]):
    """A list that counts how many of its values were looked at."""

    looked = 0

    def __iter__(self) -> Iterator[Any]:
        for one in super().__iter__():
            self.looked += 1
            yield one


def test_sound_parameters_pass() -> None:
    params = {"n_estimators": 10, "max_depth": None, "max_features": "sqrt", "min_samples_leaf": 0.1, "bootstrap": True}
    assert catalogue.check("RandomForestClassifier", params) == ()
    assert catalogue.check("MLPClassifier", {"hidden_layer_sizes": [20, 10]}) == ()
    assert catalogue.check("LogisticRegression", {"class_weight": {"yes": 2, "no": 1.5}}) == ()
    assert catalogue.check("KNeighborsRegressor", {"metric_params": {"p": 3}}) == ()
    assert catalogue.check("DummyClassifier", {"strategy": "constant", "constant": "yes"}) == ()
    assert catalogue.check("auto", {}) == ()


@pytest.mark.parametrize(
    ("estimator", "param", "value", "allowed"),
    [
        ("RandomForestClassifier", "n_estimators", 0, "a whole number from 1"),
        ("RandomForestClassifier", "n_estimators", True, "a whole number from 1"),
        ("RandomForestClassifier", "n_estimators", 10.0, "a whole number from 1"),
        ("RandomForestClassifier", "n_estimators", 2**40, "a whole number from 1"),
        ("RandomForestClassifier", "bootstrap", 1, "true or false"),
        ("Ridge", "alpha", -0.1, "a number from 0"),
        ("Ridge", "alpha", "1", "a number from 0"),
        ("Ridge", "alpha", 1e999, "a number from 0"),
        ("Ridge", "alpha", 10**400, "a number from 0"),
        ("LogisticRegression", "class_weight", {"a": 10**400}, "a number from 0 for each class"),
        ("DummyClassifier", "constant", 10**400, "a value of the target, or null"),
        ("SVC", "C", 0, "a number above 0"),
        ("GradientBoostingClassifier", "validation_fraction", 1, "a number above 0 below 1"),
        ("NuSVR", "nu", 1.5, "a number above 0 up to 1"),
        ("HistGradientBoostingClassifier", "max_bins", 256, "a whole number from 2 to 255"),
        ("CCA", "n_components", 2, "a whole number that is 1"),
        ("MLPRegressor", "hidden_layer_sizes", [], "a list of whole numbers from 1"),
        ("MLPRegressor", "hidden_layer_sizes", [3, 0], "a list of whole numbers from 1"),
        ("LogisticRegression", "class_weight", {}, "a number from 0 for each class"),
        ("LogisticRegression", "class_weight", {"a": -1}, "a number from 0 for each class"),
        ("LogisticRegression", "class_weight", {"a": "1"}, "a number from 0 for each class"),
        ("SVC", "kernel", "precomputed", 'one of "linear", "poly", "rbf", "sigmoid"'),
        ("KNeighborsClassifier", "metric_params", [1], "an object, or null"),
        ("DummyClassifier", "constant", [1], "a value of the target, or null"),
        ("HistGradientBoostingRegressor", "interaction_cst", [1], "a list of lists of whole numbers"),
        ("BaggingRegressor", "max_features", 1.5, "a number written with a decimal point above 0 up to 1"),
    ],
)
def test_a_bad_value_is_told_what_is_allowed(estimator: str, param: str, value: object, allowed: str) -> None:
    found = problems(catalogue.check(estimator, {param: value}))
    assert allowed in found[f"params.{param}"]


def test_an_unknown_estimator_is_told_the_closest_names() -> None:
    assert (
        "did you mean RandomForestRegressor or RandomForestClassifier?"
        in problems(catalogue.check("RandomForest", {}))["estimator"]
    )
    assert "did you mean Ridge" in problems(catalogue.check("ridge", {}))["estimator"]
    assert '"auto"' in problems(catalogue.check("xqzw", {}))["estimator"]


def test_an_excluded_estimator_is_told_why() -> None:
    assert "another estimator" in problems(catalogue.check("StackingClassifier", {}))["estimator"]


def test_an_unknown_parameter_is_told_the_closest_or_all() -> None:
    found = problems(catalogue.check("Ridge", {"alhpa": 1, "zzz": 1, "copy_X": True}))
    assert "did you mean alpha" in found["params[0]"]
    assert "alpha, fit_intercept" in found["params[1]"]
    assert "can't be set" in found["params.copy_X"]


def test_no_name_of_the_callers_comes_back() -> None:
    params = {"alpha": -1, "CANARY": 1, "alpha.CANARY": 2, "CANARY" * 100: 3}
    searched = space(alpha=[1.0], CANARY=[], copy_X=[True], alphaCANARY=[1, 2])
    found = catalogue.check("Ridge", params, searched)
    assert "CANARY" not in str(found)
    assert [error.at for error in found] == [
        "params.alpha", "params[1]", "params[2]", "params[3]", "search.space.alpha",
        "search.space[1]", "search.space[1]", "search.space[1]", "search.space.copy_X", "search.space[3]",
    ]  # fmt: skip
    assert "CANARY" not in str(catalogue.check("CANARY", {"CANARY": 1}, space(CANARY=[1])))


def test_errors_are_at_most_sixteen() -> None:
    assert len(catalogue.check("Ridge", {f"x{index}": 1 for index in range(50)})) == errors.MAX_FIELD_ERRORS


def test_auto_takes_no_parameters_and_no_search() -> None:
    assert set(problems(catalogue.check("auto", {"C": 1}, space(C=[1])))) == {"params", "search"}


def test_a_search_is_checked_value_by_value() -> None:
    found = problems(catalogue.check("SVC", {"C": 1.0}, space(C=[1.0], gamma=[0.1, "big"], tol=[], zzz=[1])))
    assert "also given in params" in found["search.space.C"]
    assert "must be" in found["search.space.gamma[1]"]
    assert "at least one value" in found["search.space.tol"]
    assert "not a parameter" in found["search.space[3]"]
    assert catalogue.check("SVC", {}, space(C=[1.0, 2.0], kernel=["rbf", "linear"])) == ()


def test_a_search_is_bounded() -> None:
    many = [float(value) for value in range(1, 40)]
    assert "1521 candidates" in problems(catalogue.check("SVC", {}, space(C=many, gamma=many)))["search.space"]
    assert catalogue.check("SVC", {}, space("random", C=many, gamma=many)) == ()
    assert "at least one parameter" in problems(catalogue.check("SVC", {}, space()))["search.space"]
    found = problems(catalogue.check("SVC", {}, space(candidates=501, folds=1, C=[1.0])))
    assert set(found) == {"search.candidates", "search.folds"}


@pytest.mark.parametrize("value", ["log_loss", "no loss", ["log_loss"] * 3])
def test_values_by_the_hundred_thousand_are_refused_unseen(value: object) -> None:
    values = Watched([value] * 300_000)
    search = space("random", loss=values)
    (found,) = catalogue.check("SGDClassifier", {}, search)
    assert (found.at, found.problem) == ("search.space", "holds more than 5000 values")
    catalogue.check_validation("SGDClassifier", {}, messages.Validation(scoring="log_loss"), search)
    assert values.looked <= catalogue.MAX_VALUES


def test_a_search_stops_being_checked_at_sixteen_faults() -> None:
    values = Watched([-1] * 1000)
    assert len(catalogue.check("SVC", {}, space("random", C=values))) == errors.MAX_FIELD_ERRORS
    assert values.looked == len(values) + errors.MAX_FIELD_ERRORS  # counted first


def test_values_within_lists_and_objects_are_counted() -> None:
    wide = [[0, 1]] * 1000
    assert catalogue.check("HistGradientBoostingRegressor", {"interaction_cst": wide}) == ()
    lists = Watched([[0] * 100] * 51)
    (found,) = catalogue.check("HistGradientBoostingRegressor", {"interaction_cst": lists})
    assert found.at == "params"
    assert lists.looked == 51
    weights = {str(index): 1 for index in range(catalogue.MAX_VALUES)}
    assert catalogue.check("SVC", {"class_weight": weights})[0].at == "params"
    assert catalogue.check("SVC", {"class_weight": {"yes": 1}}) == ()


def test_texts_and_numbers_are_bounded() -> None:
    long = {"class_weight": {"x" * catalogue.MAX_BYTES: 1}}
    assert "262144 bytes" in problems(catalogue.check("SVC", long))["params"]
    assert "262144 bytes" in problems(catalogue.check("SVC", {}, space(class_weight=[long])))["search.space"]
    label = "x" * (parameters.MAX_TEXT + 1)
    assert "params.constant" in problems(catalogue.check("DummyClassifier", {"constant": label}))
    assert "params.C" in problems(catalogue.check("SVC", {"C": 10**400}))


def test_validation_is_checked() -> None:
    def check(estimator: str = "Ridge", **fields: Any) -> dict[str, str]:
        return problems(catalogue.check_validation(estimator, {}, messages.Validation(**fields)))

    assert check() == {}
    assert check(holdout=0, folds=5, scoring="rmse") == {}
    assert "from 0 to 0.5" in check(holdout=0.6)["validation.holdout"]
    assert "0 or a whole number" in check(folds=1)["validation.folds"]
    assert "did you mean rmse" in check(scoring="rsme")["validation.scoring"]
    assert "one of r2" in check(scoring="accuracy")["validation.scoring"]
    assert "class probabilities" in check("LinearSVC", scoring="roc_auc")["validation.scoring"]
    assert check("auto", scoring="roc_auc") == {}
    assert check("SVC", scoring="accuracy") == {}


def test_a_search_over_what_gives_probabilities_is_checked_too() -> None:
    asked = messages.Validation(scoring="log_loss")
    both, one = space(loss=["hinge", "log_loss"]), space(loss=["log_loss"])
    assert catalogue.check_validation("SGDClassifier", {}, asked, both)
    assert catalogue.check_validation("SGDClassifier", {}, asked, one) == ()
    assert catalogue.check_validation("SGDClassifier", {"loss": "log_loss"}, asked, space(alpha=[1.0])) == ()


def test_tasks_and_names() -> None:
    assert catalogue.task("Ridge") == "regression"
    assert catalogue.task("SVC") == "classification"
    assert catalogue.task("auto") is None
    assert set(catalogue.names()) == set(catalogue.names("classifier")) | set(catalogue.names("regressor"))
    assert catalogue.has_probabilities("SVC", {"probability": True})
    assert not catalogue.has_probabilities("SVC", {})
    assert not catalogue.has_probabilities("Ridge", {})


def test_scores_have_a_direction() -> None:
    assert scoring.SCORES["accuracy"].more_is_better
    assert not scoring.SCORES["rmse"].more_is_better
    assert set(scoring.names()) == set(scoring.SCORES)
    assert scoring.check(None, "regression") == ()


def test_a_long_list_of_options_is_cut() -> None:
    many = parameters.Parameter(None, (parameters.Allowed("option", options=tuple(f"o{i}" for i in range(30))),))
    assert parameters.describe(many).endswith("and 6 others")
    text = parameters.Parameter(None, (parameters.Allowed("text"), parameters.Allowed("list")))
    assert parameters.describe(text) == "a text, or a list"
    assert parameters.accepts(text, "x")
    assert parameters.accepts(text, [1, "x"])


def test_the_check_needs_no_scikit_learn() -> None:
    code = (
        "import sys; from wire import catalogue; catalogue.check('SVC', {});"
        "print('sklearn' in sys.modules, 'numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["False", "False"]
