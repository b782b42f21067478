import math
import threading
import time
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

from model_store.runtime.onnx_graph import OnnxRuntime
from model_store.runtime.outputs import CannotPredict, Output, Runtime
from model_store.runtime.skops_file import PipelineRuntime
from tests.unit.trainer import compiling
from tests.unit.trainer.compiling import NUMBERS, TEXTS, THREE, TWO, VALUES, Twisted, rows_of
from trainer.compile import convert, edge_rows, limits, proof
from trainer.compile.edge_rows import Rows


def _native(model: Any, target: Any) -> PipelineRuntime:
    return PipelineRuntime(compiling.fit(make_pipeline(model), target, rows_of()), 0)


def _expected(native: Any, spread: float = 0.0) -> proof.Reference:
    return proof.reference(native, rows_of().take(slice(100)), spread, 0.2)


def _but(row: int, **changes: Any) -> Any:
    """Answer as the other runtime, with the label or a probability of one row changed."""

    def twist(output: Output) -> Output:
        labels, scores = output.labels.copy(), output.probabilities
        if len(labels) > row:
            labels[row] += changes.get("label", 0)
            if scores is not None and "probability" in changes:
                scores = scores.copy()
                scores[row, 0] += changes["probability"]
        return Output(labels, changes.get("probabilities", scores))

    return twist


class Numbers(Runtime):
    """Answers each row with its only number."""

    kind = "onnx"
    size_bytes = 0

    def predict(self, numbers: Any, texts: Any, probabilities: bool = False) -> Output:
        return Output(numbers[:, 0], None)

    def close(self) -> None:
        """Nothing to let go of."""


def test_the_pipeline_itself_passes() -> None:
    native = _native(LogisticRegression(), THREE)
    expected = _expected(native)
    assert proof.compare(native, expected) == {"largest_probability_difference": 0.0}
    assert expected.counts()["held_out_rows"] == 100


@pytest.mark.parametrize(
    ("twist", "reason"),
    [
        (_but(3, label=1), "another label on 1"),
        (_but(3, probability=2e-5), "a probability differs"),
        (_but(3, probability=math.nan), "a probability differs"),
        (_but(0, probabilities=None), "another shape"),
        (_but(0, probabilities=np.zeros((1, 1))), "another shape"),
    ],
)
def test_a_graph_that_classifies_otherwise_is_refused(twist: Any, reason: str) -> None:
    native = _native(LogisticRegression(), THREE)
    expected = _expected(native)
    with pytest.raises(proof.NotEqual, match=reason):
        proof.compare(Twisted(native, twist), expected)


def test_a_probability_may_differ_by_a_hair() -> None:
    native = _native(LogisticRegression(), THREE)
    measured = proof.compare(Twisted(native, _but(3, probability=5e-6)), _expected(native))
    assert 4e-6 < measured["largest_probability_difference"] < 6e-6


def test_a_classifier_without_probabilities_is_judged_by_its_labels() -> None:
    native = _native(RidgeClassifier(), TWO)
    expected = _expected(native)
    assert expected.boundary == 0
    assert proof.compare(native, expected) == {"largest_probability_difference": None}
    with pytest.raises(proof.NotEqual, match="label"):
        proof.compare(Twisted(native, _but(0, label=1)), expected)


def test_a_value_is_judged_by_the_targets_spread() -> None:
    native, spread = _native(Ridge(), VALUES), float(VALUES.std())
    expected = _expected(native, spread)
    proof.compare(Twisted(native, _but(0, label=0.9e-5 * spread)), expected)
    for off in (2e-5 * spread, math.inf, math.nan):
        with pytest.raises(proof.NotEqual, match="a value differs"):
            proof.compare(Twisted(native, _but(0, label=off)), expected)


def test_the_same_infinity_and_nan_on_both_sides_are_no_difference() -> None:
    answer = Output(np.array([math.inf, math.nan, 1.0]), None)
    same = Twisted(_native(Ridge(), VALUES), lambda _: answer)
    expected = proof.Reference(rows_of().take(slice(3)), answer, 1.0, 3, 0, 0, 0)
    assert proof.compare(same, expected)["largest_value_difference"] == 0.0


def test_a_graph_without_an_answer_is_refused() -> None:
    native = _native(Ridge(), VALUES)
    expected = _expected(native)

    def silent(_: Output) -> Output:
        raise CannotPredict("no")

    with pytest.raises(proof.NotEqual, match="no answer"):
        proof.compare(Twisted(native, silent), expected)


def test_a_row_with_other_bits_in_a_batch_is_refused() -> None:
    # scikit-learn's own sum has other last bits in a batch than alone; the graph's has not.
    fitted = compiling.fit(make_pipeline(Ridge()), VALUES, rows_of())
    graph = OnnxRuntime(convert.graph(fitted, convert.EXACT, 4, 0, False))
    assert proof.batches(graph, rows_of(), 0.1)["rows_alone"] >= 3

    def last_bit(output: Output) -> Output:
        labels = output.labels.copy()
        if len(labels) == 17:
            labels[5] = np.nextafter(labels[5], np.inf)
        return Output(labels, None)

    with pytest.raises(proof.NotEqual, match="a batch of 17"):
        proof.batches(Twisted(graph, last_bit), rows_of(), 0.2)


@pytest.mark.parametrize(("begin", "end"), [(0, 1_000), (1_000, 3_000), (3_000, 3_048)])
def test_bits_are_compared_on_held_out_made_and_boundary_rows_alike(begin: int, end: int) -> None:
    """Only rows of one kind get other bits in company, as many of each kind as a whole reference has."""
    numbers = np.arange(3_048.0)[:, None]

    def last_bit(output: Output) -> Output:
        labels = output.labels.copy()
        if len(labels) > 1:
            here = (labels >= begin) & (labels < end)
            labels[here] = np.nextafter(labels[here], np.inf)
        return Output(labels, None)

    with pytest.raises(proof.NotEqual, match="other bits"):
        proof.batches(Twisted(Numbers(), last_bit), rows_of(numbers, np.empty((3_048, 0), dtype=object)), 5.0)


def test_rows_that_the_pipeline_refuses_are_counted_and_left_out() -> None:
    native = _native(RandomForestClassifier(3), TWO)
    numbers = NUMBERS[:50].copy()
    numbers[7, 0] = 1e300
    with pytest.raises(CannotPredict):
        proof.reference(native, rows_of(numbers, compiling.NO_TEXTS[:50]), 0.0, 0.1)
    whole = proof.reference(native, rows_of(NUMBERS[:50], compiling.NO_TEXTS[:50]), 0.0, 0.1)
    some = Rows(np.concatenate([whole.rows.numbers, numbers[7:8]]), np.empty((len(whole.rows) + 1, 0), dtype=object))
    assert proof._answered(native, some).tolist() == [True] * len(whole.rows) + [False]


def test_boundaries_are_found_to_the_last_bit() -> None:
    native = _native(HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=4), VALUES)
    pairs = edge_rows.at_boundaries(native, rows_of(), time.monotonic() + 60)
    half = len(pairs) // 2
    assert half >= 5
    below, above = pairs.take(slice(half)), pairs.take(slice(half, None))
    assert np.all(below.ask(native).labels != above.ask(native).labels)
    apart = below.numbers != above.numbers
    assert np.all(apart.sum(axis=1) == 1)
    assert np.all(np.nextafter(below.numbers[apart], above.numbers[apart]) == above.numbers[apart])


def test_no_boundaries_are_sought_where_answers_change_everywhere_or_time_is_over() -> None:
    assert len(edge_rows.at_boundaries(_native(Ridge(), VALUES), rows_of(), time.monotonic() + 60)) == 0
    tree = _native(DecisionTreeRegressor(), VALUES)
    assert len(edge_rows.at_boundaries(tree, rows_of(), time.monotonic() - 1)) == 0
    calls: list[int] = []

    def refusing(output: Output) -> Output:
        calls.append(1)
        if len(calls) > 1:
            raise CannotPredict("no")
        return output

    broken = Twisted(tree, refusing)
    assert len(edge_rows.at_boundaries(broken, rows_of(), time.monotonic() + 60)) == 0


def test_generated_rows_meet_missing_unknown_and_extreme_cells_in_every_column() -> None:
    rows = edge_rows.generate(rows_of(NUMBERS, TEXTS))
    again = edge_rows.generate(rows_of(NUMBERS, TEXTS))
    assert np.array_equal(rows.numbers, again.numbers, equal_nan=True)
    assert np.array_equal(rows.texts, again.texts)
    assert np.isnan(rows.numbers).any(axis=0).all()
    assert (np.abs(rows.numbers) == 1e30).any(axis=0).all()
    for column in range(2):
        assert {"", "no such category"} <= set(rows.texts[:, column])
    assert np.isnan(rows.numbers).all(axis=1).any()


def test_generated_rows_of_an_empty_or_of_very_many_columns() -> None:
    empty = edge_rows.generate(rows_of(np.full((5, 1), np.nan), np.empty((5, 0), dtype=object)))
    assert len(empty) > 10
    wide = edge_rows.generate(rows_of(np.zeros((5, 500)), np.empty((5, 0), dtype=object)))
    assert len(wide) < 64 * 40 + 200


def test_the_alarm_ends_what_takes_too_long_in_the_main_thread_only() -> None:
    with pytest.raises(limits.TooSlow), limits.alarm(0.05):
        threading.Event().wait(10)
    with limits.alarm(10):
        pass
    ended: list[bool] = []

    def elsewhere() -> None:
        with limits.alarm(0.001):
            threading.Event().wait(0.05)
        ended.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(10)
    assert ended == [True]


def test_the_size_of_a_fitted_model_counts_trees_and_arrays() -> None:
    forest = compiling.fit(make_pipeline(RandomForestClassifier(5, random_state=0)), THREE, rows_of())
    nodes = sum(one.tree_.node_count for one in forest.steps[0][1].estimators_)
    assert limits.model_bytes(forest) > nodes * 64
    assert limits.has_shared_leaves(forest)
    assert not limits.has_shared_leaves(compiling.fit(make_pipeline(RandomForestClassifier(5)), TWO, rows_of()))
