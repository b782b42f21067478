"""What the Open Inference Protocol tells of a model: its metadata, and the statistics of its requests."""

from __future__ import annotations

from typing import Any

from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.predict.statistics import MOST, Statistics
from api.protocols.open_inference import metadata
from api.protocols.served import Served


def served(manifest: dict[str, Any]) -> Served:
    columns = [{"name": "a", "type": "number"}, {"name": "b", "type": "date"}]
    return Served("m", 2, (1, 2), {"features": {"columns": columns}, "runtime": "onnx", **manifest})


def test_metadata_follows_the_manifest() -> None:
    told = metadata.model(served({"classes": [1, 2], "estimator": "LogisticRegression"}))
    assert (told.versions, told.platform) == (["1", "2"], "onnxruntime_onnx")
    assert [(one.name, one.datatype, one.shape) for one in told.inputs] == [
        ("a", "FP64", [-1, 1]),
        ("b", "BYTES", [-1, 1]),
    ]
    assert [(one.name, one.datatype, one.shape) for one in told.outputs] == [
        ("predict", "INT64", [-1]),
        ("predict_proba", "FP64", [-1, 2]),
    ]
    strange = metadata.model(served({"classes": ["x"], "estimator": "FromTheFuture", "runtime": "other"}))
    assert ([one.name for one in strange.outputs], strange.platform) == (["predict"], "sklearn")
    assert [one.datatype for one in metadata.model(served({"estimator": "Ridge"})).outputs] == ["FP64"]


def test_statistics_are_counted_by_version_and_bounded() -> None:
    figures = Statistics()
    by_alias = Asked("m", 0, "champion", b"", False, 1)
    figures.failed(by_alias, 1.0)
    assert figures.of("m") == {}
    answer = Answer(3, memoryview(b""), 0.25, 0.5, rows=4, share=0.5)
    figures.succeeded(by_alias, answer, 1.0)
    figures.succeeded(by_alias._replace(version=3, alias=""), answer, 1.0)
    figures.failed(by_alias, 2.0)
    (told,) = metadata.statistics(figures.of("m", 3))
    assert (told.inference_count, told.execution_count) == (8, 1)
    assert told.inference_stats["success"] == metadata.Duration(2, 2_000_000_000)
    assert told.inference_stats["fail"] == metadata.Duration(1, 2_000_000_000)
    assert told.inference_stats["queue"] == metadata.Duration(2, 500_000_000)
    assert figures.of("m", 4) == {}
    for number in range(MOST + 5):
        figures.succeeded(by_alias._replace(model=f"m{number}"), answer, 1.0)
    assert len(figures.of()) == MOST
    assert figures.of("m") == {}
