"""Many small trees as bit masks: the same answers as the trees, and only where they are faster."""

from typing import Any

import numpy as np
import onnx
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from model_store.runtime.onnx_graph import OnnxRuntime
from tests.unit.trainer import compiling
from tests.unit.trainer.compiling import HOLES, NO_TEXTS, NUMBERS, QUICK, THREE, TWO, VALUES, proven, rows_of
from trainer.compile import compile_pipeline, convert, limits, speed
from trainer.compile.converters import NotCompilable, tree_masks
from trainer.compile.converters.tree_node import Tree

ENSEMBLES = [
    (GradientBoostingClassifier(n_estimators=50), TWO),
    (GradientBoostingClassifier(n_estimators=50), THREE),
    (GradientBoostingClassifier(n_estimators=50, loss="exponential", init="zero"), TWO),
    (GradientBoostingRegressor(n_estimators=53), VALUES),
    (GradientBoostingRegressor(n_estimators=50, max_depth=None, max_leaf_nodes=8), VALUES),
    (AdaBoostClassifier(n_estimators=60), TWO),
]
WITH_MISSING = [
    (RandomForestClassifier(50, max_depth=3), TWO),
    (RandomForestRegressor(50, max_leaf_nodes=8), VALUES),
    (HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8), TWO),
    (HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8), THREE),
    (HistGradientBoostingRegressor(max_iter=50, max_depth=3), VALUES),
]


def _name(value: Any) -> str:
    return type(value).__name__ if hasattr(value, "fit") else f"{value.dtype}"


@pytest.fixture(autouse=True)
def same_forests() -> None:
    """The same trees in every run."""
    np.random.seed(0)


@pytest.mark.parametrize(("estimator", "target"), ENSEMBLES, ids=_name)
def test_ensembles_of_small_trees_are_equal_as_masks(estimator: Any, target: Any) -> None:
    proven(SimpleImputer(), estimator, target=target, rows=rows_of(HOLES), precision=convert.SMALL_TREES)


@pytest.mark.parametrize(("estimator", "target"), WITH_MISSING, ids=_name)
def test_masks_send_missing_cells_where_the_trees_learnt_to(estimator: Any, target: Any) -> None:
    proven(estimator, target=target, rows=rows_of(HOLES), precision=convert.SMALL_TREES)


def test_masks_give_the_bits_that_the_trees_give_on_thresholds_infinities_and_missing_cells() -> None:
    boosting = HistGradientBoostingRegressor(max_iter=64, max_leaf_nodes=8, learning_rate=0.3)
    pipeline = compiling.fit(make_pipeline(boosting), VALUES, rows_of(HOLES))
    splits = [one.nodes[~one.nodes["is_leaf"].astype(bool)] for (one,) in boosting._predictors]
    nodes = np.concatenate(splits)
    random = np.random.default_rng(0)
    numbers = NUMBERS[random.integers(0, 300, 5000)].copy()
    for column in range(4):
        own = nodes["num_threshold"][nodes["feature_idx"] == column]
        edges = np.concatenate([own, np.nextafter(own, np.inf), [np.inf, -np.inf, np.nan, 0.0, -0.0]])
        numbers[:, column] = np.where(random.random(5000) < 0.7, random.choice(edges, 5000), numbers[:, column])
    texts = np.empty((5000, 0), dtype=object)
    answers = [
        OnnxRuntime(convert.graph(pipeline, precision, 4, 0, False)).predict(numbers, texts).labels
        for precision in (convert.EXACT, convert.SMALL_TREES)
    ]
    assert len(np.unique(answers[0])) > 1000
    assert answers[0].tobytes() == answers[1].tobytes()


def _is_masked(estimator: Any, target: Any = VALUES) -> bool:
    pipeline = compiling.fit(make_pipeline(estimator), target, rows_of())
    try:
        graph = onnx.load_from_string(convert.graph(pipeline, convert.SMALL_TREES, 4, 0, False)).graph
    except NotCompilable:
        return False
    return tree_masks.used_in(graph)


def test_only_many_trees_of_eight_leaves_become_masks() -> None:
    assert _is_masked(GradientBoostingRegressor(n_estimators=48))
    assert not _is_masked(GradientBoostingRegressor(n_estimators=47))
    assert not _is_masked(GradientBoostingRegressor(n_estimators=48, max_depth=4))
    assert not _is_masked(Ridge())


def _stump(feature: int, threshold: float = 0.0) -> Tree:
    column = np.array([feature, 0, 0])
    left, right = np.array([1, -1, -1]), np.array([2, -1, -1])
    return Tree(left, right, column, np.full(3, threshold), np.zeros(3, bool), np.array([[0.0], [1.0], [2.0]]))


def test_too_many_features_and_too_large_tables_stay_trees() -> None:
    assert tree_masks.suits([_stump(number % 32) for number in range(32 * 12)])
    assert not tree_masks.suits([_stump(number % 33) for number in range(33 * 12)])
    assert not tree_masks.suits([_stump(0, float(number)) for number in range(4000)])


@pytest.mark.parametrize("masked", [True, False])
def test_the_report_says_which_form_the_trees_have(monkeypatch: pytest.MonkeyPatch, masked: bool) -> None:
    monkeypatch.setattr(speed, "ratio", lambda graph, native: 2.0)
    model = GradientBoostingClassifier(n_estimators=50 if masked else 8)
    pipeline = compiling.fit(make_pipeline(SimpleImputer(), model), TWO, rows_of(HOLES))
    compiled = compile_pipeline(pipeline, (HOLES, NO_TEXTS), classes_count=2, limits=QUICK)
    assert compiled.runtime == "onnx"
    assert compiled.report["precision"] == ("float64, small trees as masks" if masked else "float64")
    assert limits.has_small_trees(pipeline) is masked


def test_masks_that_are_not_equal_give_way_to_the_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_masks, "_words", lambda masks: np.zeros((len(masks), masks.shape[1] // 8), np.uint64))
    model = GradientBoostingClassifier(n_estimators=50)
    pipeline = compiling.fit(make_pipeline(SimpleImputer(), model), TWO, rows_of(HOLES))
    compiled = compile_pipeline(pipeline, (HOLES, NO_TEXTS), classes_count=2, limits=QUICK)
    assert compiled.report["precision"] == "float64"
    assert [one["outcome"].partition(":")[0] for one in compiled.report["attempts"]] == ["NotEqual", "proven"]
