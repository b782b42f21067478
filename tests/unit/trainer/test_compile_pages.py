from typing import Any

import numpy as np
import pytest

from model_store.runtime import trusted
from tests.unit.trainer import compiling
from trainer.compile import report, specimens, trusted_types
from wire import catalogue, errors


def _line(estimator: str) -> str:
    lines = report.TARGET.read_text().splitlines()
    return next(line for line in lines if line.startswith(f"| {estimator} |"))


@pytest.mark.parametrize(
    "estimator", ["LogisticRegression", "GaussianNB", "IsotonicRegression", "KNeighborsRegressor", "NearestCentroid"]
)
def test_the_page_says_what_happens(estimator: str) -> None:
    assert report.row(estimator) == _line(estimator), "run python -m trainer.compile.report"


def test_the_page_has_every_estimator_of_the_catalogue() -> None:
    known = catalogue.load()
    assert all(_line(name) for name in known.estimators)
    assert all(name in report.TARGET.read_text() for name in known.excluded)


def test_a_page_is_made_of_a_row_for_each_estimator(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {"float64": "| one | float64 |  |", "skops": "| two | skops (slow) |  |"}
    monkeypatch.setattr(report, "row", lambda name: lines["float64" if name < "N" else "skops"])
    assert "estimators compile on every table" in report.page()


def test_what_cannot_be_fitted_or_served_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    table = specimens.tables("Ridge")[0]

    def fails(error: Exception) -> Any:
        def fail(*_: Any) -> Any:
            raise error

        return fail

    monkeypatch.setattr(report, "_compiled", fails(errors.TrainingFailed("it cannot be stored")))
    assert report.outcome("Ridge", table) == "cannot be served: it cannot be stored"
    monkeypatch.setattr(report, "_compiled", fails(np.linalg.LinAlgError()))
    assert report.outcome("Ridge", table) == "cannot be fitted on it"


def test_a_model_that_was_never_attempted_says_why() -> None:
    assert report._why({"attempts": [], "reason": "too large"}) == "too large"
    assert report._why({"attempts": [{"outcome": "Fail: x"}]}) == "its graph cannot be made or loaded"


@pytest.mark.parametrize(
    "estimator", ["LogisticRegression", "SVC", "KNeighborsRegressor", "CategoricalNB", "TheilSenRegressor"]
)
def test_the_allow_list_has_what_an_estimator_needs(estimator: str) -> None:
    missing = [pair for pair in trusted_types.named_by(estimator) if pair[1] not in trusted.NODES.get(pair[0], ())]
    assert not missing, "run python -m trainer.compile.trusted_types"


def test_the_allow_list_names_nothing_that_runs_code_of_others() -> None:
    assert not {"FunctionNode", "MethodNode", "PartialNode", "OperatorFuncNode", "ReduceNode"} & trusted.NODES.keys()
    assert all(name.startswith(("builtins.", "collections.", "numpy.", "scipy.", "sklearn.")) for name in trusted.TYPES)
    assert not {"builtins.eval", "builtins.exec", "builtins.getattr"} & trusted.TYPES


def test_the_list_is_written_from_what_the_estimators_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = {("ObjectNode", "sklearn.pipeline.Pipeline")}
    monkeypatch.setattr(trusted_types, "named_by", lambda _: pairs)
    made: dict[str, Any] = {}
    exec(trusted_types.generate(), made)
    assert made["NODES"]["ObjectNode"] == {"sklearn.pipeline.Pipeline"}
    assert made["PROTOCOL"] == trusted.PROTOCOL
    pairs.add(("MethodNode", "sklearn.pipeline.Pipeline"))
    with pytest.raises(ValueError, match="judged"):
        trusted_types.generate()


def test_a_held_out_part_is_a_third() -> None:
    table = specimens.tables("Ridge")[0]
    assert len(specimens.held_out(table)[0]) == 200
    assert compiling.QUICK.prove_s < 1
