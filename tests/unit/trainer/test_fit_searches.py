"""How a fit finds its best candidate: searches, and what auto compares."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.trainer.training import moving, numbers, request, typed
from trainer import auto, fit, preparation, search
from trainer.progress import silent
from trainer.refusals import Warned
from wire import errors, messages


@pytest.mark.parametrize("kind", ["grid", "random", "halving"])
def test_a_search_finds_the_best_and_moves_the_progress(kind: str) -> None:
    space = {"max_depth": [1, 6], "criterion": ["gini", "entropy"]}
    asked = request("DecisionTreeClassifier", search=messages.Search(space=space, kind=kind, candidates=4))  # type: ignore[arg-type]
    fitted, lines = moving(asked, numbers(160, classes=4))
    assert fitted.params["max_depth"] == 6
    assert fitted.report["search"]["tried"] == 4
    choosing = [line.fraction for line in lines if line.stage == "choosing"]
    assert choosing == sorted(choosing)
    assert len(set(choosing)) >= 8


def test_a_search_minimises_what_is_better_small() -> None:
    draw = np.random.default_rng(0)
    a = draw.uniform(size=120)
    table = typed(a=a, b=draw.uniform(size=120), y=3 * a)
    space = messages.Search(space={"alpha": [0.001, 1000.0]})
    fitted = fit.fit(table, request("Ridge", search=space, validation=messages.Validation(scoring="rmse")))
    assert fitted.params == {"alpha": 0.001}
    best, other = fitted.report["search"]["candidates"]
    assert 0 < best["mean"] < other["mean"]
    assert fitted.score == fitted.metrics["rmse"]


def test_candidates_that_cannot_be_fitted_lose_and_the_search_goes_on() -> None:
    space = messages.Search(space={"solver": ["svd", "lsqr"], "shrinkage": ["auto"]})
    fitted = fit.fit(numbers(), request("LinearDiscriminantAnalysis", search=space))
    assert fitted.params["solver"] == "lsqr"
    assert fitted.report["search"]["candidates"][1]["mean"] is None


def test_a_search_whose_candidates_all_fail_says_why() -> None:
    space = messages.Search(space={"shrinkage": ["auto", 0.5]})
    with pytest.raises(errors.TrainingFailed, match=r"LinearDiscriminantAnalysis can't be trained.*svd"):
        fit.fit(numbers(), request("LinearDiscriminantAnalysis", search=space))


def test_a_search_without_a_defined_score_is_refused() -> None:
    table = typed(a=np.arange(120.0), y=["x"] * 117 + ["y"] * 3)
    asked = request(
        "LogisticRegression",
        search=messages.Search(space={"C": [1.0, 2.0]}, folds=10),
        validation=messages.Validation(scoring="roc_auc"),
    )
    with pytest.raises(errors.TrainingFailed, match="no candidate has a roc_auc"):
        fit.fit(table, asked)


def test_auto_compares_a_few_and_says_what_it_compared() -> None:
    fitted, lines = moving(request(), numbers(140))
    named = {one["estimator"] for one in fitted.report["auto"]["candidates"]}
    assert named == {"LogisticRegression", "RandomForestClassifier", "GradientBoostingClassifier"}
    assert fitted.estimator in named
    assert fitted.score is not None
    assert fitted.score > 0.9
    assert [line.stage for line in lines if line.message == "fit 9 of 9"] == ["choosing"]


def test_auto_chooses_by_task_and_size() -> None:
    def named(*arguments: object) -> list[str]:
        return [one.estimator for one in auto.candidates(*arguments)]  # type: ignore[arg-type]

    assert named("regression", 500, 0) == ["RidgeCV", "RandomForestRegressor", "GradientBoostingRegressor"]
    assert named("classification", 500, 30) == ["LogisticRegression", "RandomForestClassifier"]
    assert named("classification", 5000, 3)[-1] == "HistGradientBoostingClassifier"
    assert auto.candidates("regression", 200_000, 0)[1].params["max_depth"] == 16


def test_auto_begins_nothing_new_when_its_time_is_over() -> None:
    prepared = preparation.prepare(numbers(140), request())
    ticks = iter([0.0, 0.0, 1000.0, 1000.0])
    candidates = auto.candidates("classification", 100, 2)
    chosen = search.choose(candidates, request(), prepared, silent(), Warned(), clock=lambda: next(ticks))
    assert chosen.report["tried"] == 2
    assert chosen.report["not_tried"] == 1


def test_auto_goes_on_past_a_candidate_that_fails_and_fails_when_all_do() -> None:
    prepared = preparation.prepare(numbers(140), request())
    bad = search.Candidate("LinearDiscriminantAnalysis", {"shrinkage": "auto"})
    good = search.Candidate("GaussianNB", {})
    assert search.choose([bad, good], request(), prepared, silent(), Warned()).best == good
    with pytest.raises(errors.TrainingFailed, match="LinearDiscriminantAnalysis"):
        search.choose([bad], request(), prepared, silent(), Warned())


def test_auto_compares_on_a_sample_of_a_large_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CHOICE_ROWS", 60)
    fitted = fit.fit(numbers(300), request())
    assert fitted.report["auto"]["rows"] == 60
    assert fitted.report["rows"]["training"] > 200
