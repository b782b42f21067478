import json
from typing import Any

import numpy as np
import pytest

from model_store import errors, runtime
from model_store.runtime import outputs, samples
from model_store.runtime.onnx_graph import OnnxRuntime
from tests.unit.model_store import graphs
from tests.unit.model_store.graphs import no_texts

ROWS = np.random.default_rng(0).normal(size=(50, 2))


def _classifier() -> OnnxRuntime:
    return OnnxRuntime(graphs.larger_column_model().SerializeToString())


def _regressor() -> OnnxRuntime:
    return OnnxRuntime(graphs.sum_model().SerializeToString())


def _changed(data: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(data), **fields}).encode()


@pytest.mark.parametrize("made", [_classifier, _regressor])
def test_a_version_passes_its_own_samples(made: Any) -> None:
    served = made()
    stored = samples.record(served, ROWS, no_texts(50))
    runtime.check_samples(served, graphs.artefact("onnx", samples_json=stored))
    assert len(json.loads(stored)["labels"]) == samples.ROWS


def test_texts_are_replayed_too() -> None:
    served = OnnxRuntime(graphs.word_model().SerializeToString())
    texts = np.array([["yes"], [""]], dtype=object)
    stored = samples.record(served, np.empty((2, 0)), texts)
    assert json.loads(stored)["probabilities"] is None
    samples.replay(served, stored)


class Undecided(outputs.Runtime):
    """As LabelPropagation, which divides nothing by nothing where no neighbour is near; its labels are numbers."""

    def predict(self, numbers: outputs.Numbers, texts: outputs.Texts, probabilities: bool = False) -> outputs.Output:
        far = numbers[:, 0] > 1
        return outputs.Output(np.zeros(len(numbers), np.int64), np.where(far[:, None], np.nan, [[0.5, 0.5]]))

    def close(self) -> None:
        """It holds nothing."""


def test_a_missing_number_is_kept_as_null_and_a_row_without_a_finite_answer_is_not_kept() -> None:
    stored = samples.record(Undecided(), np.array([[np.nan, 1.0]]), no_texts(1))
    assert json.loads(stored)["numbers"] == [[None, 1.0]]
    only = samples.record(_regressor(), np.array([[1.0, 2.0], [np.nan, 1.0]]), no_texts(2))
    assert json.loads(only)["labels"] == [3.0]


def test_a_row_without_a_finite_probability_is_not_kept() -> None:
    stored = samples.record(Undecided(), np.array([[0.0], [2.0]]), no_texts(2))
    assert json.loads(stored)["probabilities"] == [[0.5, 0.5]]
    samples.replay(Undecided(), stored)


class Crowded(outputs.Runtime):
    """A sound version where no memory is left."""

    def predict(self, numbers: outputs.Numbers, texts: outputs.Texts, probabilities: bool = False) -> outputs.Output:
        raise MemoryError

    def close(self) -> None:
        """It holds nothing."""


def test_a_version_that_memory_is_missing_for_is_not_called_corrupt() -> None:
    stored = samples.record(_regressor(), ROWS, no_texts(50))
    with pytest.raises(MemoryError):
        samples.replay(Crowded(), stored)


def test_no_samples_pass() -> None:
    empty = samples.record(_regressor(), np.array([[np.nan, 1.0]]), no_texts(1))
    samples.replay(_regressor(), empty)


def test_a_version_that_answers_otherwise_is_corrupt() -> None:
    classified = samples.record(_classifier(), ROWS, no_texts(50))
    summed = samples.record(_regressor(), ROWS, no_texts(50))
    labels, values = json.loads(classified)["labels"], json.loads(summed)["labels"]
    scores = json.loads(classified)["probabilities"]
    for served, stored in (
        (_classifier(), _changed(classified, labels=[1 - labels[0], *labels[1:]])),
        (_classifier(), _changed(classified, probabilities=None)),
        (_classifier(), _changed(classified, probabilities=[row[:1] for row in scores])),
        (_classifier(), _changed(classified, probabilities=[[scores[0][0] + 1e-3, 0.0], *scores[1:]])),
        (_regressor(), _changed(summed, labels=[values[0] + 1e-3, *values[1:]])),
    ):
        with pytest.raises(errors.Corrupt, match="otherwise"):
            samples.replay(served, stored)


def test_another_processors_rounding_is_no_difference() -> None:
    stored = samples.record(_regressor(), ROWS, no_texts(50))
    values = [value + 1e-7 for value in json.loads(stored)["labels"]]
    samples.replay(_regressor(), _changed(stored, labels=values))


def test_samples_that_cannot_be_answered_or_read_are_corrupt() -> None:
    stored = samples.record(_regressor(), ROWS, no_texts(50))
    narrow = [row[:1] for row in json.loads(stored)["numbers"]]
    with pytest.raises(errors.Corrupt, match="cannot answer"):
        samples.replay(_regressor(), _changed(stored, numbers=narrow))
    for broken in (b"{", b"[]", _changed(stored, numbers=[[1.0], [1.0, 2.0]])):
        with pytest.raises(errors.Corrupt, match="cannot be read"):
            samples.replay(_regressor(), broken)


def test_a_version_without_samples_is_corrupt() -> None:
    with pytest.raises(errors.Corrupt, match=r"samples\.json"):
        runtime.check_samples(_regressor(), graphs.artefact("onnx"))


def test_a_graph_is_loaded_by_the_manifests_word() -> None:
    served = runtime.load(graphs.artefact("onnx", model_onnx=graphs.sum_model().SerializeToString()))
    assert served.kind == "onnx"
