"""What the Open Inference Protocol tells of a version: its tensors in and out, and its statistics.

Between a manifest or the replica's figures and the routes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from api.predict.statistics import Figures
from api.protocols.served import Served
from wire import datatypes

PLATFORMS: Final = {"onnx": "onnxruntime_onnx", "skops": "sklearn_skops"}
"""What runs a version, by its manifest's runtime, as the protocol names platforms."""


class Tensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tensor that a version takes or gives; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}


class Model(msgspec.Struct, frozen=True):
    """A version of a model, and the versions there are."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class Duration(msgspec.Struct, frozen=True):
    """How often something happened, and how long it took in all."""

    count: int
    ns: int


class ModelStatistics(msgspec.Struct, frozen=True):
    """A version's statistics in Triton's shape; they are those of the replica that answers.

    Reading tensors, computing and writing outputs are measured as one time, which is told as
    ``compute_infer``.
    """

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, Duration]
    batch_stats: list[dict[str, Any]]


def model(served: Served) -> Model:
    """The metadata of a version."""
    return Model(
        served.model,
        [str(version) for version in served.versions],
        PLATFORMS.get(served.manifest.get("runtime", ""), "sklearn"),
        _inputs(served),
        _outputs(served),
    )


def _inputs(served: Served) -> list[Tensor]:
    """One tensor where all columns are numbers, else one for each column; a request may send either."""
    columns = served.columns
    if all(column["type"] == "number" for column in columns):
        names = [column["name"] for column in columns]
        return [Tensor("x", "FP64", [-1, len(columns)], {"columns": names})]
    return [Tensor(column["name"], datatypes.of_column(column["type"]), [-1, 1]) for column in columns]


def _outputs(served: Served) -> list[Tensor]:
    outputs = [Tensor("predict", datatypes.of_labels(served.classes), [-1])]
    if served.classes is not None and served.has_probabilities:
        outputs.append(Tensor("predict_proba", "FP64", [-1, len(served.classes)], {"classes": served.classes}))
    return outputs


def statistics(found: Mapping[tuple[str, int], Figures]) -> list[ModelStatistics]:
    """The statistics of some versions, by name and number."""
    return [_statistics(name, version, found[name, version]) for name, version in sorted(found)]


def _statistics(name: str, version: int, figures: Figures) -> ModelStatistics:
    count = figures.succeeded
    inference_stats = {
        "success": _duration(count, figures.success_s),
        "fail": _duration(figures.failed, figures.fail_s),
        "queue": _duration(count, figures.queue_s),
        "compute_input": _duration(count, 0),
        "compute_infer": _duration(count, figures.inference_s),
        "compute_output": _duration(count, 0),
        "cache_hit": _duration(0, 0),
        "cache_miss": _duration(0, 0),
    }
    last_ms, batches = int(figures.last_at * 1000), round(figures.batches)
    return ModelStatistics(name, str(version), last_ms, figures.rows, batches, inference_stats, [])


def _duration(count: int, seconds: float) -> Duration:
    return Duration(count, int(seconds * 1e9))
