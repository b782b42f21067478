from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    BayesianRidge,
    GammaRegressor,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.unit.trainer import compiling
from tests.unit.trainer.compiling import HOLES, NUMBERS, TEXTS, THREE, TWO, VALUES, proven, rows_of
from trainer.compile import convert
from trainer.compile.converters import NotCompilable

pytestmark = pytest.mark.filterwarnings("ignore:.*unknown categories", "ignore:Skipping features")


@pytest.fixture(autouse=True)
def same_forests() -> None:
    """The same trees in every run: now and then a forest votes exactly half and half, and another sum falls over."""
    np.random.seed(0)


NUMBERS_ONLY, WITH_HOLES, MIXED = rows_of(), rows_of(HOLES), rows_of(HOLES, TEXTS)

TREES = [
    (DecisionTreeClassifier(max_depth=4), THREE),
    (DecisionTreeRegressor(), VALUES),
    (RandomForestClassifier(12, max_depth=5), TWO),
    (RandomForestClassifier(12, min_samples_leaf=4), THREE),
    (ExtraTreesClassifier(12), THREE),
    (RandomForestRegressor(12), VALUES),
    (BaggingClassifier(n_estimators=5, max_features=0.5), THREE),
    (BaggingRegressor(n_estimators=5, max_features=0.5), VALUES),
    (AdaBoostClassifier(n_estimators=8), TWO),
    (AdaBoostClassifier(n_estimators=8), THREE),
    (GradientBoostingClassifier(n_estimators=8), TWO),
    (GradientBoostingClassifier(n_estimators=8), THREE),
    (GradientBoostingClassifier(n_estimators=8, loss="exponential", init="zero"), TWO),
    (GradientBoostingRegressor(n_estimators=8, loss="huber"), VALUES),
    (GradientBoostingRegressor(n_estimators=8, init="zero"), VALUES),
    (HistGradientBoostingClassifier(max_iter=8), TWO),
    (HistGradientBoostingClassifier(max_iter=8), THREE),
    (HistGradientBoostingRegressor(max_iter=8), VALUES),
    (HistGradientBoostingRegressor(max_iter=8, loss="poisson"), np.abs(VALUES)),
]

OTHERS = [
    (LogisticRegression(), TWO),
    (LogisticRegression(), THREE),
    (LinearDiscriminantAnalysis(), THREE),
    (SGDClassifier(loss="log_loss"), THREE),
    (SGDClassifier(loss="modified_huber"), TWO),
    (SGDClassifier(loss="modified_huber"), THREE),
    (RidgeClassifier(), TWO),
    (RidgeClassifier(), THREE),
    (CalibratedClassifierCV(), TWO),
    (CalibratedClassifierCV(), THREE),
    (GaussianNB(), THREE),
    (BernoulliNB(), TWO),
    (BernoulliNB(binarize=None), TWO),
    (QuadraticDiscriminantAnalysis(), THREE),
    (DummyClassifier(), THREE),
    (DummyRegressor(), VALUES),
    (MLPClassifier((5,), max_iter=20), TWO),
    (MLPClassifier((5, 4), activation="tanh", max_iter=20), THREE),
    (MLPRegressor(hidden_layer_sizes=(5,), activation="identity", max_iter=20), VALUES),
    (BayesianRidge(), VALUES),
    (PLSRegression(2), VALUES),
    (GammaRegressor(), np.abs(VALUES) + 1),
    (TweedieRegressor(power=0, link="identity"), VALUES),
    (SVR(), VALUES),
    (SVR(kernel="linear"), VALUES),
    (SVR(kernel="sigmoid"), VALUES),
    (KernelRidge(), VALUES),
    (KernelRidge(kernel="rbf"), VALUES),
]


def _name(value: Any) -> str:
    return type(value).__name__ if hasattr(value, "fit") else f"{value.dtype}"


@pytest.mark.parametrize(("estimator", "target"), TREES, ids=_name)
@pytest.mark.parametrize("precision", [convert.EXACT, convert.SHARED_LEAVES], ids=["exact", "shared"])
def test_trees_of_every_kind_are_equal_in_float64(estimator: Any, target: Any, precision: Any) -> None:
    imputer = () if "HistGradient" in type(estimator).__name__ else (SimpleImputer(),)
    proven(*imputer, estimator, target=target, rows=WITH_HOLES, precision=precision)


@pytest.mark.parametrize(("estimator", "target"), OTHERS, ids=_name)
def test_estimators_of_every_other_kind_are_equal_in_float64(estimator: Any, target: Any) -> None:
    proven(SimpleImputer(), StandardScaler(), estimator, target=target, rows=WITH_HOLES)


def test_a_forest_of_two_classes_is_the_same_to_the_last_bit() -> None:
    measured = proven(RandomForestClassifier(50), target=TWO, rows=NUMBERS_ONLY)
    assert measured["largest_probability_difference"] <= 2**-52


@pytest.mark.parametrize("estimator", [RandomForestClassifier(10), DecisionTreeClassifier(), ExtraTreesClassifier(10)])
def test_trees_that_learnt_from_missing_cells_are_equal(estimator: Any) -> None:
    proven(estimator, target=THREE, rows=WITH_HOLES)


def test_a_tree_of_a_single_leaf_is_equal_in_both_forms() -> None:
    for precision in (convert.EXACT, convert.SHARED_LEAVES):
        stump = DecisionTreeRegressor(max_depth=1, min_samples_leaf=150)
        proven(BaggingRegressor(stump, n_estimators=3), target=VALUES, rows=NUMBERS_ONLY, precision=precision)
        proven(RandomForestRegressor(3, min_samples_leaf=200), target=VALUES, rows=NUMBERS_ONLY, precision=precision)


def test_float32_trees_that_cast_themselves_are_equal_and_others_are_found_out() -> None:
    proven(RandomForestClassifier(10), target=TWO, rows=NUMBERS_ONLY, precision=convert.SINGLE)
    with pytest.raises(Exception, match=r"differs"):
        proven(HistGradientBoostingRegressor(max_iter=20), target=VALUES, rows=NUMBERS_ONLY, precision=convert.SINGLE)


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        RobustScaler(),
        RobustScaler(with_centering=False),
        MaxAbsScaler(),
        MaxAbsScaler(clip=True),
        MinMaxScaler((-1, 2)),
        MinMaxScaler(clip=True),
        KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
        KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
    ],
    ids=repr,
)
def test_every_scaler_is_equal_to_the_last_bit_before_a_tree(scaler: Any) -> None:
    proven(SimpleImputer(strategy="median"), scaler, DecisionTreeRegressor(), target=VALUES, rows=WITH_HOLES)


@pytest.mark.parametrize("estimator", [MultinomialNB(), ComplementNB()], ids=_name)
def test_counting_bayes_is_equal_on_numbers_from_0_to_1(estimator: Any) -> None:
    proven(SimpleImputer(), MinMaxScaler(clip=True), estimator, target=THREE, rows=WITH_HOLES)


def test_categorical_bayes_is_equal_on_bins() -> None:
    bins = KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf")
    proven(SimpleImputer(), bins, CategoricalNB(min_categories=2), target=THREE, rows=WITH_HOLES)


@pytest.mark.parametrize("keep", [True, False])
def test_an_imputer_keeps_or_drops_an_empty_column_as_fitted(keep: bool) -> None:
    empty = HOLES.copy()
    empty[:, 1] = np.nan
    proven(SimpleImputer(keep_empty_features=keep), Ridge(), target=VALUES, rows=rows_of(empty))


def _columns(*encoders: Any) -> ColumnTransformer:
    parts: list[Any] = [("numbers", SimpleImputer(), [0, 1, 2, 3])]
    parts += [(f"texts {place}", encoder, columns) for place, (encoder, columns) in enumerate(encoders)]
    return ColumnTransformer(parts, sparse_threshold=0)


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False, drop="first"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=5),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=4),
        TargetEncoder(target_type="binary"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("estimator", [LogisticRegression(), RandomForestClassifier(8)], ids=_name)
def test_every_encoder_is_equal_for_known_and_unknown_texts(encoder: Any, estimator: Any) -> None:
    proven(_columns((encoder, [4, 5])), estimator, target=TWO, rows=MIXED)


def test_two_encoders_of_one_column_each_and_a_target_of_three_classes() -> None:
    columns = _columns((OneHotEncoder(handle_unknown="ignore"), [4]), (TargetEncoder(), [5]))
    proven(columns, GradientBoostingClassifier(n_estimators=5), target=THREE, rows=MIXED)


def test_a_text_column_that_gives_no_column_is_left_out() -> None:
    words = TEXTS.copy()
    words[:, 1] = "always"
    columns = _columns((OneHotEncoder(drop="first", handle_unknown="ignore", sparse_output=False), [4, 5]))
    proven(columns, Ridge(), target=VALUES, rows=rows_of(HOLES, words))


def test_texts_alone_are_enough() -> None:
    columns = ColumnTransformer([("texts", OneHotEncoder(handle_unknown="ignore"), [0, 1])], sparse_threshold=0)
    pipeline_rows = rows_of(np.empty((300, 0)), TEXTS)
    for estimator, target in ((LogisticRegression(), THREE), (Ridge(), VALUES)):
        proven(columns, estimator, target=target, rows=pipeline_rows)


REFUSED = [
    ((SimpleImputer(add_indicator=True), Ridge()), VALUES),
    ((GradientBoostingRegressor(n_estimators=2, init=Ridge()),), VALUES),
    ((BaggingRegressor(Ridge(), n_estimators=2),), VALUES),
    ((DummyClassifier(strategy="uniform"),), TWO),
    ((KernelRidge(kernel="poly"),), VALUES),
    ((CalibratedClassifierCV(method="isotonic"),), TWO),
    ((CategoricalNB(min_categories=3),), TWO),
    ((HistGradientBoostingRegressor(max_iter=2, categorical_features=[0]),), VALUES),
]


@pytest.mark.parametrize(("steps", "target"), REFUSED, ids=lambda value: repr(value)[:40])
def test_what_a_graph_cannot_say_is_refused_by_name(steps: Any, target: Any) -> None:
    small = np.abs(np.round(NUMBERS)) % 3
    with pytest.raises(NotCompilable):
        proven(*steps, target=target, rows=rows_of(small))


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="error"), OrdinalEncoder()], ids=repr)
def test_an_encoder_that_refuses_unknown_texts_is_not_compiled(encoder: Any) -> None:
    rows = rows_of(NUMBERS, TEXTS)
    pipeline = compiling.fit(_pipeline(_columns((encoder, [4]))), VALUES, rows)
    with pytest.raises(NotCompilable, match="unknown"):
        convert.graph(pipeline, convert.EXACT, 4, 2, False)


def test_an_encoder_of_numbers_is_not_compiled() -> None:
    rows = rows_of(np.round(NUMBERS))
    pipeline = compiling.fit(_pipeline(OneHotEncoder(handle_unknown="ignore", sparse_output=False)), VALUES, rows)
    with pytest.raises(NotCompilable, match="text"):
        convert.graph(pipeline, convert.EXACT, 4, 0, False)


def test_several_targets_are_not_compiled() -> None:
    for estimator in (
        RandomForestRegressor(2),
        Ridge(),
        PLSRegression(1),
        MLPRegressor(hidden_layer_sizes=(3,), max_iter=5),
    ):
        pipeline = compiling.fit(_pipeline(estimator, last=None), np.stack([VALUES, VALUES], axis=1), NUMBERS_ONLY)
        with pytest.raises(NotCompilable):
            convert.graph(pipeline, convert.EXACT, 4, 0, False)


def _pipeline(step: Any, last: Any = "ridge") -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(step, Ridge()) if last else make_pipeline(step)
