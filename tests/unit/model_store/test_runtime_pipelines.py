import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from model_store import errors, runtime
from model_store.runtime import archive, features, node_bounds, skops_file
from tests.unit.model_store import graphs
from tests.unit.model_store.graphs import no_texts

RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(80, 3))
CLASSES = (NUMBERS[:, 0] > 0).astype(int)


def _stored(model: Any, target: Any = CLASSES) -> bytes:
    data: bytes = skops.io.dumps(make_pipeline(SimpleImputer(), model).fit(NUMBERS, target))
    return data


def test_a_stored_classifier_answers_as_the_fitted_one() -> None:
    data = _stored(LogisticRegression())
    served = runtime.load(graphs.artefact("skops", model_skops=data))
    fitted = make_pipeline(SimpleImputer(), LogisticRegression()).fit(NUMBERS, CLASSES)
    output = served.predict(NUMBERS, no_texts(80), probabilities=True)
    assert served.kind == "skops"
    assert served.size_bytes == len(data)
    assert output.labels.dtype == np.int64
    assert np.array_equal(output.labels, fitted.predict(NUMBERS))
    assert output.probabilities is not None
    assert np.array_equal(output.probabilities, fitted.predict_proba(NUMBERS))
    assert served.predict(NUMBERS, no_texts(80)).probabilities is None


def test_a_classifier_without_probabilities_gives_none() -> None:
    served = skops_file.load(_stored(RidgeClassifier()))
    assert served.predict(NUMBERS, no_texts(80), probabilities=True).probabilities is None


def test_a_stored_regression_gives_numbers() -> None:
    served = skops_file.load(_stored(Ridge(), NUMBERS.sum(axis=1)))
    output = served.predict(NUMBERS[:2], no_texts(2), probabilities=True)
    assert output.labels.dtype == np.float64
    assert output.probabilities is None


def test_a_mixed_pipeline_gets_its_columns_by_name_with_the_numbers_first() -> None:
    texts = np.array([["red"], ["blue"]] * 40, dtype=object)
    rows = features.build(NUMBERS, texts, ["a", "b", "c", "colour"])
    encode = ColumnTransformer(
        [("numbers", "passthrough", [0, 1, 2]), ("texts", OneHotEncoder(handle_unknown="ignore"), [3])]
    )
    fitted = Pipeline([("columns", encode), ("model", LogisticRegression())]).fit(rows, CLASSES)
    served = skops_file.load(skops.io.dumps(fitted))
    output = served.predict(NUMBERS, texts, probabilities=True)
    assert list(rows.columns) == ["a", "b", "c", "colour"]
    assert rows["colour"].dtype == object
    assert np.array_equal(output.labels, fitted.predict(rows))


def test_numbers_alone_stay_the_array_they_are() -> None:
    assert features.build(NUMBERS, no_texts(80), ["a", "b", "c"]) is NUMBERS


def test_a_number_beyond_the_estimators_range_is_refused_and_a_closed_version_too() -> None:
    served = skops_file.load(_stored(RandomForestClassifier(5)))
    with pytest.raises(runtime.CannotPredict):
        served.predict(np.full((1, 3), 1e300), no_texts(1))
    served.close()
    with pytest.raises(runtime.CannotPredict):
        served.predict(NUMBERS, no_texts(80))


def test_a_version_without_its_file_is_corrupt() -> None:
    with pytest.raises(errors.Corrupt, match=r"model\.skops"):
        runtime.load(graphs.artefact("skops", model_onnx=b""))


class Stranger(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator that is nobody's."""


def test_a_type_that_is_not_on_the_list_is_refused() -> None:
    with pytest.raises(errors.Corrupt, match="not on our list"):
        skops_file.load(skops.io.dumps(Stranger()))


def test_a_function_and_a_bound_method_are_refused() -> None:
    for foreign in (np.linalg.norm, LogisticRegression().fit, print):
        with pytest.raises(errors.Corrupt, match="not on our list"):
            archive.check(skops.io.dumps(foreign))


def _rewritten(data: bytes, change: Callable[[dict[str, bytes]], None], packed: bool = False) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archived:
        content = {name: archived.read(name) for name in archived.namelist()}
    change(content)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archived:
        for name, bytes_ in content.items():
            archived.writestr(name, bytes_)
    return made.getvalue()


def _npy(content: dict[str, bytes]) -> str:
    return next(name for name in content if name.endswith(".npy"))


def _with_other_protocol(content: dict[str, bytes]) -> None:
    content["schema.json"] = json.dumps({**json.loads(content["schema.json"]), "protocol": 0}).encode()


def _with_lying_header(content: dict[str, bytes]) -> None:
    name = _npy(content)
    content[name] = content[name] + b"\0" * 8


def _with_objects(content: dict[str, bytes]) -> None:
    made = io.BytesIO()
    np.lib.format.write_array_header_2_0(made, {"shape": (1,), "fortran_order": False, "descr": "|O"})  # type: ignore[no-untyped-call]
    content[_npy(content)] = made.getvalue() + b"\0" * 8


def _without_schema(content: dict[str, bytes]) -> None:
    del content["schema.json"]


def _with_endless_json(content: dict[str, bytes]) -> None:
    content["schema.json"] = b"[" * 100_000


def _with_another_array(content: dict[str, bytes]) -> None:
    content[_npy(content)] = b"PK not an array"


@pytest.mark.parametrize(
    "change",
    [
        _with_other_protocol,
        _with_lying_header,
        _with_objects,
        _without_schema,
        _with_endless_json,
        _with_another_array,
    ],
)
def test_a_file_that_was_tampered_with_is_corrupt(change: Callable[[dict[str, bytes]], None]) -> None:
    with pytest.raises(errors.Corrupt):
        skops_file.load(_rewritten(_stored(LogisticRegression()), change))


def test_a_file_that_passes_the_checks_and_cannot_be_built_is_corrupt() -> None:
    def nameless(content: dict[str, bytes]) -> None:
        schema = json.loads(content["schema.json"])
        del schema["content"]
        schema["__loader__"], schema["__module__"], schema["__class__"] = "ListNode", "builtins", "list"
        content["schema.json"] = json.dumps(schema).encode()

    with pytest.raises(errors.Corrupt, match="cannot be loaded"):
        skops_file.load(_rewritten(_stored(LogisticRegression()), nameless))


def test_what_is_no_archive_is_corrupt() -> None:
    for data in (b"", b"PK\x03\x04 no archive", _stored(LogisticRegression())[:-30]):
        with pytest.raises(errors.Corrupt):
            skops_file.load(data)


def _listed_often(data: bytes) -> bytes:
    """Each entry is in the directory a hundred times, all at one place."""
    made = io.BytesIO(data)
    with zipfile.ZipFile(made, "a") as archived:
        archived.writestr("one-more", b"")
        archived.filelist *= 100
    return made.getvalue()


def test_an_entry_with_a_password_is_refused() -> None:
    data = bytearray(_stored(LogisticRegression()))
    for begin, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.find(begin) + flags] |= 1
    with pytest.raises(errors.Corrupt, match="cannot be read"):
        archive.check(bytes(data))


def test_an_object_in_two_places_is_loaded() -> None:
    shared = SimpleImputer().fit(NUMBERS)
    model = Pipeline([("one", shared), ("two", shared), ("model", Ridge().fit(NUMBERS, CLASSES))])
    served = skops_file.load(skops.io.dumps(model))
    assert served.predict(NUMBERS, no_texts(80)).labels.tolist() == model.predict(NUMBERS).tolist()


def test_bombs_are_refused_by_the_directory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def bomb(content: dict[str, bytes]) -> None:
        content["bomb"] = b"\0" * 1_000_000

    with pytest.raises(errors.Corrupt, match="unpacks"):
        archive.check(_rewritten(_stored(LogisticRegression()), bomb, packed=True))
    with pytest.raises(errors.Corrupt, match="unpacks"):
        archive.check(_listed_often(_stored(LogisticRegression())))
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 1_000)
    with pytest.raises(errors.TooLarge, match="unpacked"):
        archive.check(_stored(LogisticRegression()))
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    with pytest.raises(errors.TooLarge, match="entries"):
        archive.check(_stored(LogisticRegression()))


def _forest() -> Any:
    return make_pipeline(SimpleImputer(), RandomForestClassifier(3, random_state=0)).fit(NUMBERS, CLASSES)


def _break_tree(forest: Any, field: str, value: int) -> None:
    tree = forest.steps[-1][1].estimators_[1].tree_
    state = tree.__getstate__()
    inner = np.flatnonzero(state["nodes"]["left_child"] >= 0)[0]
    state["nodes"][field][inner] = value
    tree.__setstate__(state)


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 10_000), ("right_child", 0), ("feature", 3), ("feature", -5)]
)
def test_a_tree_that_points_outside_or_back_is_refused(field: str, value: int) -> None:
    forest = _forest()
    node_bounds.check(forest)
    _break_tree(forest, field, value)
    with pytest.raises(errors.Corrupt, match="tree"):
        skops_file.load(skops.io.dumps(forest))


@pytest.mark.parametrize(
    ("field", "value"), [("left", 60_000), ("right", 0), ("feature_idx", 3), ("is_categorical", 1)]
)
def test_a_boosted_tree_that_points_outside_or_back_is_refused(field: str, value: int) -> None:
    model = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=5).fit(NUMBERS, NUMBERS.sum(axis=1))
    node_bounds.check(model)
    model._predictors[1][0].nodes[field][0] = value
    with pytest.raises(errors.Corrupt, match="tree"):
        node_bounds.check(model)


def test_a_boosted_forest_whose_rows_are_narrower_than_its_trees_think_is_refused() -> None:
    model = GradientBoostingRegressor(n_estimators=2).fit(NUMBERS, NUMBERS.sum(axis=1))
    node_bounds.check(model)
    model.estimators_[1, 0].n_features_in_ = 1_000_000
    with pytest.raises(errors.Corrupt, match="column"):
        node_bounds.check(model)
    hist = HistGradientBoostingRegressor(max_iter=2).fit(NUMBERS, NUMBERS.sum(axis=1))
    node_bounds.check(hist)
    hist._preprocessor = SimpleImputer()
    with pytest.raises(errors.Corrupt, match="categories"):
        node_bounds.check(hist)


@pytest.mark.parametrize("kind", ["kd_tree", "ball_tree"])
@pytest.mark.parametrize(("part", "field", "value"), [(1, None, 10_000), (2, "idx_end", 10_000), (2, "idx_start", -1)])
def test_a_neighbour_tree_that_points_outside_is_refused(kind: str, part: int, field: str | None, value: int) -> None:
    model = KNeighborsClassifier(algorithm=kind).fit(NUMBERS, CLASSES)
    node_bounds.check(model)
    array = np.asarray(model._tree.get_arrays()[part])
    array = array if field is None else array[field]
    array.flags.writeable = True
    array[0] = value
    with pytest.raises(errors.Corrupt, match="tree"):
        node_bounds.check(model)
