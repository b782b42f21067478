import itertools
import json
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from model_store.runtime import samples, skops_file
from model_store.runtime.onnx_graph import OnnxRuntime
from model_store.runtime.outputs import Output
from tables.batch import Batch
from tables.columns import Column
from tables.schema import Schema
from tests.unit.trainer import compiling
from tests.unit.trainer.compiling import HOLES, NO_TEXTS, NUMBERS, QUICK, TEXTS, TWO, VALUES, Twisted, rows_of
from trainer import pipeline as pipelines
from trainer.compile import Limits, compile_pipeline, convert, speed
from wire import errors

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class NobodysRidge(Ridge):  # type: ignore[misc]
    """An estimator that no converter and no allow-list knows."""


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is the faster one, however busy the machine is while the two are measured."""
    monkeypatch.setattr(speed, "ratio", lambda graph, native: 2.0)


def _compiled(model: Any, target: Any = TWO, limits: Limits = QUICK) -> Any:
    pipeline = compiling.fit(make_pipeline(SimpleImputer(), model), target, rows_of(HOLES))
    classes = None if target is VALUES else 2
    return compile_pipeline(
        pipeline, (HOLES, NO_TEXTS), classes_count=classes, target_spread=float(VALUES.std()), limits=limits
    )


@pytest.mark.parametrize(
    "name",
    [
        "LogisticRegression",
        "RandomForestClassifier",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
    ],
)
@pytest.mark.usefixtures("ahead")
def test_the_mixed_benchmark_model_compiles_with_every_estimator(name: str) -> None:
    _check_served_as_a_graph(name, {}, Batch(HOLES, TEXTS), TWO)


def _check_served_as_a_graph(name: str, params: dict[str, Any], batch: Batch, target: Any) -> None:
    columns = [Column(f"n{place}", "number") for place in range(batch.numbers.shape[1])]
    schema = Schema((*columns, *(Column(f"t{place}", "text") for place in range(batch.texts.shape[1]))))
    known = pipelines.facts(batch, "classification", (0, 1))
    fitted = pipelines.build(name, params, schema, known).fit(pipelines.features(batch, schema), target)
    compiled = compile_pipeline(fitted, (batch.numbers, batch.texts), classes_count=2, limits=QUICK)
    assert compiled.runtime == "onnx", compiled.report
    assert compiled.report["precision"].startswith("float64")
    assert compiled.skops_bytes is None
    served = OnnxRuntime(compiled.onnx_bytes or b"")
    samples.replay(served, compiled.samples)
    output = served.predict(batch.numbers, batch.texts, probabilities=True)
    assert np.array_equal(output.labels, fitted.predict(pipelines.features(batch, schema)))
    assert output.probabilities is not None
    assert np.allclose(
        output.probabilities, fitted.predict_proba(pipelines.features(batch, schema)), rtol=0, atol=1e-12
    )


def test_the_report_goes_into_a_manifest_and_says_what_was_proven_and_measured() -> None:
    compiled = _compiled(LogisticRegression())
    report = json.loads(json.dumps(compiled.report))
    assert report["attempts"][-1]["outcome"] == "proven"
    assert report["attempts"][-1]["proof"]["batch_sizes"] >= 20
    measured = report["speed"]["microseconds_by_rows"]
    assert set(measured["onnx"]) == set(measured["skops"]) == {"1", "100", "10000"}
    assert all(time_us > 0 for one in measured.values() for time_us in one.values())
    assert "cheaper" in report["reason"]


@pytest.mark.usefixtures("ahead")
def test_a_regression_compiles_with_its_spread() -> None:
    compiled = _compiled(Ridge(), VALUES)
    assert compiled.runtime == "onnx"
    assert compiled.report["attempts"][-1]["proof"]["target_spread"] == float(VALUES.std())


def test_scikit_learn_is_served_where_it_is_the_cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "ratio", lambda graph, native: 0.5)
    compiled = _compiled(LogisticRegression())
    assert compiled.runtime == "skops"
    assert compiled.onnx_bytes is None
    assert "cheaper" in compiled.report["reason"]
    samples.replay(skops_file.load(compiled.skops_bytes), compiled.samples)


def test_what_does_not_compile_is_served_by_scikit_learn_with_the_reason() -> None:
    compiled = _compiled(KNeighborsClassifier(algorithm="ball_tree", metric="chebyshev"))
    assert compiled.runtime == "skops"
    assert compiled.report["reason"].startswith("not compiled")
    assert set(compiled.report["speed"]["microseconds_by_rows"]["skops"]) == {"1", "100", "10000"}
    assert all(attempt["outcome"] != "proven" for attempt in compiled.report["attempts"])


def test_a_figure_that_was_reckoned_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {1: 1.0, 100: 30_000.0, 10_000: 3_000_000.0}

    def measured(runtime: Any, *_: Any) -> speed.Measured:
        return speed.Measured(figures, (10_000,) if runtime.kind == "skops" else ())

    monkeypatch.setattr(speed, "measure", measured)
    report = json.loads(json.dumps(_compiled(LogisticRegression()).report))
    assert report["speed"]["reckoned_rows"] == {"skops": [10_000]}


def test_a_pipeline_that_cannot_take_ten_thousand_rows_is_served_without_its_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(speed, "measure", full)
    compiled = _compiled(KNeighborsClassifier(algorithm="ball_tree", metric="chebyshev"))
    assert compiled.runtime == "skops"
    assert compiled.report["speed"] == {"outcome": "MemoryError: no room"}


def test_any_error_of_a_converter_is_a_reason_and_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> bytes:
        raise MemoryError("no room")

    monkeypatch.setattr(convert, "graph", broken)
    compiled = _compiled(LogisticRegression())
    assert compiled.runtime == "skops"
    assert compiled.report["attempts"][0]["outcome"] == "MemoryError: no room"


def test_a_conversion_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: Any) -> bytes:
        while True:
            pass

    monkeypatch.setattr(convert, "graph", endless)
    compiled = _compiled(LogisticRegression(), limits=Limits(convert_s=0.1, prove_s=0.1))
    assert compiled.runtime == "skops"
    assert "TooSlow" in compiled.report["attempts"][0]["outcome"]


def test_a_model_or_a_graph_over_its_size_is_not_compiled() -> None:
    large = _compiled(RandomForestClassifier(20), limits=Limits(model_bytes=1_000, prove_s=0.1))
    assert large.runtime == "skops"
    assert "bytes" in large.report["reason"]
    assert large.report["attempts"] == []
    graph = _compiled(GradientBoostingClassifier(), limits=Limits(graph_bytes=1_000, prove_s=0.1))
    assert graph.runtime == "skops"
    assert "TooLarge" in graph.report["attempts"][0]["outcome"]


def test_a_pipeline_that_refuses_its_own_held_out_rows_is_served_as_it_is() -> None:
    pipeline = compiling.fit(make_pipeline(RandomForestClassifier(3)), TWO, rows_of())
    numbers = NUMBERS.copy()
    numbers[0] = 1e300
    with pytest.raises(errors.TrainingFailed, match="RandomForestClassifier"):
        compile_pipeline(pipeline, (numbers, NO_TEXTS), classes_count=2, limits=QUICK)


def test_an_estimator_that_neither_runtime_can_serve_fails_the_training_by_name() -> None:
    with pytest.raises(errors.TrainingFailed, match="NobodysRidge was fitted but cannot be stored"):
        _compiled(NobodysRidge(), VALUES)


def test_a_graph_is_served_when_it_is_slower_but_the_pipeline_cannot_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> Any:
        raise ValueError("not storable")

    monkeypatch.setattr(speed, "ratio", lambda graph, native: 0.5)
    monkeypatch.setattr(skops_file, "load", refuse)
    compiled = _compiled(LogisticRegression())
    assert compiled.runtime == "onnx"
    assert "cannot be stored" in compiled.report["reason"]


def test_a_stored_pipeline_that_answers_otherwise_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    other = compiling.fit(make_pipeline(SimpleImputer(), LogisticRegression()), 1 - TWO, rows_of(HOLES))
    monkeypatch.setattr(skops_file, "load", lambda _: skops_file.PipelineRuntime(other, 0))
    with pytest.raises(errors.TrainingFailed, match="otherwise"):
        _compiled(LogisticRegression(), limits=Limits(model_bytes=1))


def test_a_version_that_would_not_pass_its_own_samples_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    native = compiling.fit(make_pipeline(SimpleImputer(), LogisticRegression()), TWO, rows_of(HOLES))
    asked = itertools.count(1)

    def twist(answer: Output) -> Output:
        """Right when it is compared and when its samples are recorded, and otherwise from then on."""
        return answer if next(asked) < 3 else Output(1 - answer.labels, answer.probabilities)

    monkeypatch.setattr(skops_file, "load", lambda _: Twisted(skops_file.PipelineRuntime(native, 0), twist))
    with pytest.raises(errors.TrainingFailed, match="when it is asked again"):
        _compiled(LogisticRegression(), limits=Limits(model_bytes=1))


def test_a_pipeline_that_was_not_fitted_on_class_indices_is_a_defect() -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]).fit(NUMBERS, TWO + 1)
    for classes_count in (2, 3, None):
        with pytest.raises(ValueError, match="class indices"):
            compile_pipeline(pipeline, (NUMBERS, NO_TEXTS), classes_count=classes_count)
