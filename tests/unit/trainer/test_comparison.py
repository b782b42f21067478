"""A new version beside the champion: on rows neither was trained on, or not at all, with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from tests.unit.trainer.training import Bench, numbers, request, typed
from trainer.spec import ChildResult, Comparison
from wire import messages


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def csv(bench: Bench, frame: pd.DataFrame) -> Path:
    path = bench.folder / "data.csv"
    frame.to_csv(path, index=False)
    return path


def compared(result: ChildResult) -> Comparison:
    assert result.comparison is not None, result.error
    return result.comparison


def champion(bench: Bench, frame: pd.DataFrame, asked: messages.TrainRequest) -> int:
    result, draft = bench.train(asked, csv(bench, frame))
    return bench.publish(result, draft)


def test_the_first_version_has_nothing_to_be_compared_with(bench: Bench) -> None:
    result, _ = bench.train(request("GaussianNB"), csv(bench, numbers(200).frame))
    assert compared(result) == Comparison(
        champion=0, champion_score=None, better=None, reason="this model has no champion yet"
    )


def test_the_same_training_is_at_least_as_good_as_itself(bench: Bench) -> None:
    frame = numbers(300).frame
    asked = request("LogisticRegression", validation=messages.Validation(scoring="log_loss"))
    version = champion(bench, frame, asked)
    result, _ = bench.train(asked, csv(bench, frame), version)
    assert compared(result).better is True
    assert result.trained is not None
    assert compared(result).champion_score == pytest.approx(result.trained.score, abs=1e-5)
    assert f"{result.trained.holdout['rows']} rows that neither was trained on" in compared(result).reason


def test_a_champion_whose_manifest_has_no_types_is_compared_all_the_same(bench: Bench) -> None:
    frame = numbers(300).frame
    result, draft = bench.train(request("GaussianNB"), csv(bench, frame))
    assert result.trained is not None
    older = {name: value for name, value in result.trained.holdout.items() if name != "types"}
    trained = msgspec.structs.replace(result.trained, holdout=older)
    version = bench.publish(msgspec.structs.replace(result, trained=trained), draft)
    assert compared(bench.train(request("GaussianNB"), csv(bench, frame), version)[0]).better is True


def test_a_worse_version_is_told_so_on_the_rows_both_kept_out(bench: Bench) -> None:
    version = champion(bench, numbers(400).frame, request("DecisionTreeClassifier"))
    smaller = request("DummyClassifier", validation=messages.Validation(holdout=0.1))
    grown = pd.concat([numbers(400).frame, numbers(100, seed=9).frame])
    result, _ = bench.train(smaller, csv(bench, grown), version)
    assert compared(result).better is False
    assert compared(result).champion_score is not None
    assert result.trained is not None
    assert f"on {result.trained.holdout['rows']} rows" in compared(result).reason


def test_a_regression_is_compared_by_its_own_direction(bench: Bench) -> None:
    frame = numbers(300).frame.assign(y=lambda table: table.a * 100)
    asked = request("DummyRegressor", validation=messages.Validation(scoring="rmse"))
    version = champion(bench, frame, asked)
    better = request("LinearRegression", validation=messages.Validation(scoring="rmse"))
    result, _ = bench.train(better, csv(bench, frame), version)
    assert compared(result).better is True


def test_classes_are_compared_by_name(bench: Bench) -> None:
    frame = numbers(400, classes=3).frame
    version = champion(bench, frame[frame.y != "c0"], request("DecisionTreeClassifier"))
    result, _ = bench.train(request("DecisionTreeClassifier"), csv(bench, frame[frame.y != "c2"]), version)
    assert compared(result).better is True
    assert compared(result).champion_score is not None
    assert 0.0 < (compared(result).champion_score or 0.0) < 1.0


def test_probabilities_of_other_classes_are_not_compared(bench: Bench) -> None:
    frame = numbers(400, classes=3).frame
    asked = request("GaussianNB", validation=messages.Validation(scoring="log_loss"))
    version = champion(bench, frame[frame.y != "c0"], asked)
    result, _ = bench.train(asked, csv(bench, frame), version)
    assert compared(result).better is None
    assert "other classes" in compared(result).reason


def test_a_champion_without_probabilities_has_no_such_score(bench: Bench) -> None:
    frame = numbers(300).frame
    version = champion(bench, frame, request("LinearSVC"))
    asked = request("GaussianNB", validation=messages.Validation(scoring="roc_auc"))
    result, _ = bench.train(asked, csv(bench, frame), version)
    assert "roc_auc is not defined" in compared(result).reason


@pytest.mark.parametrize(
    ("estimator", "change", "sentence"),
    [
        ("Ridge", lambda frame: frame.assign(y=frame.a), "it is a classification"),
        (
            "GaussianNB",
            lambda frame: frame.drop(columns="b").assign(c=frame.a),
            "columns that this table does not have",
        ),
        ("GaussianNB", lambda frame: frame.assign(b=["x", "z"] * (len(frame) // 2)), "in another type"),
        # Of no version's features: empty, so a text, and then a number.
        ("GaussianNB", lambda frame: frame.assign(note=1.5), "in another type"),
    ],
)
def test_what_cannot_be_compared_says_why(
    bench: Bench, estimator: str, change: Callable[[pd.DataFrame], pd.DataFrame], sentence: str
) -> None:
    frame = numbers(400).frame.assign(note="")
    version = champion(bench, frame, request("GaussianNB"))
    result, _ = bench.train(request(estimator), csv(bench, change(frame)), version)
    assert compared(result).better is None
    assert result.trained is not None
    assert sentence in compared(result).reason


def test_too_few_rows_in_the_holdout_of_both_are_not_compared(bench: Bench) -> None:
    version = champion(bench, numbers(600).frame, request("GaussianNB", validation=messages.Validation(holdout=0.02)))
    result, _ = bench.train(request("GaussianNB"), csv(bench, numbers(120, seed=4).frame), version)
    assert compared(result).better is None
    assert "rows of this table are in the holdout of both" in compared(result).reason


def test_another_target_is_not_compared(bench: Bench) -> None:
    frame = numbers(300).frame.assign(z=["p", "q"] * 150)
    version = champion(bench, frame, request("GaussianNB"))
    result, _ = bench.train(request("GaussianNB", target="z"), csv(bench, frame), version)
    assert "another target" in compared(result).reason


def test_tiny_tables_are_compared_by_the_same_folds_of_the_same_rows(bench: Bench) -> None:
    frame = numbers(24).frame
    version = champion(bench, frame, request("DummyClassifier"))
    result, _ = bench.train(request("DecisionTreeClassifier"), csv(bench, frame), version)
    assert compared(result).better is True
    assert "by the same folds" in compared(result).reason
    other, _ = bench.train(request("GaussianNB"), csv(bench, numbers(26).frame), version)
    assert "judged by folds" in compared(other).reason
    large, _ = bench.train(request("GaussianNB"), csv(bench, numbers(400).frame), version)
    assert "it was judged by folds" in compared(large).reason


def test_time_order_is_compared_after_both_boundaries(bench: Bench) -> None:
    days = pd.date_range("2020-01-01", periods=200, freq="D").strftime("%Y-%m-%d")
    frame = numbers(200).frame.assign(day=days)
    asked = request("DecisionTreeClassifier", validation=messages.Validation(order_by="day"))
    version = champion(bench, frame.head(150), asked)
    result, _ = bench.train(asked, csv(bench, frame), version)
    assert compared(result).better is not None
    assert "on 40 rows" in compared(result).reason


def test_a_champion_that_fails_verification_is_not_compared(bench: Bench) -> None:
    frame = numbers(300).frame
    version = champion(bench, frame, request("GaussianNB"))
    (bench.volume.version("m", version) / "schema.json").write_bytes(b"{}")
    result, _ = bench.train(request("GaussianNB"), csv(bench, frame), version)
    assert "can't be read and verified" in compared(result).reason
    shutil.rmtree(bench.volume.version("m", version))
    assert result.trained is not None


def test_typed_tables_of_tests_are_what_files_give() -> None:
    assert typed(a=[1.0], t=["x"], f=[True]).types == {"a": "number", "t": "text", "f": "boolean"}
