"""The generated catalogue against the scikit-learn that is installed."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from sklearn.utils import all_estimators

from trainer import catalogue as generator
from trainer import catalogue_rules as rules
from trainer import estimators
from wire import catalogue, errors, parameters


def test_the_catalogue_file_is_what_scikit_learn_says_today() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh = generator.encode(generator.generate())
    assert generator.FILE.read_bytes() == fresh, "run: python -m trainer.catalogue"


def test_every_classifier_and_regressor_is_there_or_excluded_with_a_reason() -> None:
    known = {name for name, _ in all_estimators(type_filter=["classifier", "regressor"])}
    loaded = catalogue.load()
    assert set(loaded.estimators) | set(loaded.excluded) == known
    assert set(loaded.excluded) == set(rules.EXCLUDED)
    assert all(len(reason) > 20 for reason in loaded.excluded.values())


def test_every_parameter_is_there_or_fixed_with_a_reason() -> None:
    for name, cls in all_estimators(type_filter=["classifier", "regressor"]):
        if name in rules.EXCLUDED:
            continue
        entry = catalogue.load().estimators[name]
        assert set(entry.params) | set(entry.fixed) == set(estimators.signature(cls))
        assert all(len(reason) > 10 for reason in entry.fixed.values())


def test_every_default_is_allowed() -> None:
    for name, entry in catalogue.load().estimators.items():
        for param, rule in entry.params.items():
            if rule.default not in ("unset", "inf"):
                assert parameters.accepts(rule, rule.default), f"{name}.{param}"


def test_a_repeatable_seed_and_one_process_are_filled_in() -> None:
    forest = estimators.make("RandomForestClassifier", {"n_estimators": 3}, (0, 1))
    assert (forest.random_state, forest.n_jobs, forest.n_estimators) == (0, 1, 3)
    assert estimators.make("RandomForestClassifier", {"random_state": 7}, (0, 1)).random_state == 7
    assert estimators.make("RandomForestClassifier", {"random_state": None}, (0, 1)).random_state == 0


@pytest.mark.parametrize(
    ("classes", "label", "index"),
    [(("no", "yes"), "yes", 1), ((1, 2, 5), "5", 2), ((0.5, 2), "2", 1), ((False, True), "true", 1)],
)
def test_parameters_that_name_classes_are_translated_to_indices(
    classes: tuple[Any, ...], label: str, index: int
) -> None:
    made = estimators.make("LogisticRegression", {"class_weight": {label: 3.0}}, classes)
    assert made.class_weight == {index: 3.0}
    constant = estimators.make("DummyClassifier", {"strategy": "constant", "constant": classes[index]}, classes)
    assert constant.constant == index


def test_parameters_that_name_no_class_are_refused_with_the_classes_there_are() -> None:
    with pytest.raises(errors.TrainingFailed, match="it has no, yes"):
        estimators.make("SVC", {"class_weight": {"maybe": 3.0}}, ("no", "yes"))


def test_the_most_frequent_class_may_stand_for_outliers() -> None:
    assert estimators.make("RadiusNeighborsClassifier", {}, ("a", "b")).outlier_label == "most_frequent"
    assert estimators.make("DummyRegressor", {"strategy": "constant", "constant": 2.0}, None).constant == 2.0
