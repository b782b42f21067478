"""Turns a fitted pipeline into what a predictor serves: the last step of a training child before it writes files.

``compile_pipeline`` converts to ONNX, proves the graph equal, measures it beside scikit-learn
and chooses; whatever goes wrong on the way means the pipeline itself is served, from a skops
file, and the report says why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from model_store import errors as store_errors
from model_store.runtime import samples, skops_file
from model_store.runtime.onnx_graph import OnnxRuntime
from model_store.runtime.outputs import CannotPredict, Numbers, Runtime, Texts
from trainer.compile import convert, proof, speed
from trainer.compile.edge_rows import Rows
from trainer.compile.limits import Limits, alarm, has_shared_leaves, has_small_trees, model_bytes
from wire import errors

__all__ = ["Compiled", "Limits", "compile_pipeline"]


@dataclass(frozen=True)
class Compiled:
    """What to write into the version folder.

    Exactly one of ``onnx_bytes`` (model.onnx) and ``skops_bytes`` (model.skops) is there, as
    ``runtime`` says; ``samples`` is the content of samples.json, answered by that runtime.
    ``report`` is the manifest's runtime_report. ``serving`` is the loaded runtime itself.
    """

    runtime: Literal["onnx", "skops"]
    onnx_bytes: bytes | None
    skops_bytes: bytes | None
    samples: bytes
    report: dict[str, Any]
    serving: Runtime


def compile_pipeline(
    pipeline: Any,
    check_batch: tuple[Numbers, Texts],
    *,
    classes_count: int | None,
    target_spread: float = 0.0,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> Compiled:
    """Compile, prove, measure, choose.

    ``check_batch``: held-out rows (numbers, texts), at least one. ``classes_count``: None for a
    regression. ``target_spread``: the target's standard deviation in a regression (0: taken
    from the answers). Raises errors.TrainingFailed when the estimator can be served by neither
    runtime.
    """
    native = skops_file.PipelineRuntime(pipeline, 0)
    rows = Rows(*check_batch)
    _check_classes(pipeline, classes_count)
    report: dict[str, Any] = {"attempts": [], "seconds": {}}
    graph = _proven_graph(pipeline, native, rows, target_spread, limits, report)
    if graph is not None:
        data, runtime = graph
        begin = time.monotonic()
        report["speed"] = _speeds(runtime, native, rows, limits)
        report["seconds"]["measure"] = _since(begin)
        if report["speed"]["ratio"] >= 1:
            report["reason"] = "proven equal to the pipeline, and the cheaper one"
            return Compiled("onnx", data, None, _recorded(runtime, rows), report, runtime)
    return _skops(pipeline, native, rows, report, graph, limits)


def _recorded(served: Runtime, rows: Rows) -> bytes:
    """The samples by which every predictor will judge what it loads, seen to hold here first."""
    recorded = samples.record(served, rows.numbers, rows.texts)
    try:
        samples.replay(served, recorded)
    except store_errors.Corrupt as error:
        raise errors.TrainingFailed("the model answers the same rows otherwise when it is asked again") from error
    return recorded


def _check_classes(pipeline: Any, classes_count: int | None) -> None:
    found = getattr(pipeline, "classes_", None)
    if (found is None) != (classes_count is None) or (
        found is not None and not np.array_equal(found, np.arange(classes_count or 0))
    ):
        raise ValueError("the pipeline was not fitted on class indices from 0 to classes_count - 1")


def _since(begin: float) -> float:
    return round(time.monotonic() - begin, 3)


def _proven_graph(
    pipeline: Any, native: Runtime, rows: Rows, spread: float, limits: Limits, report: dict[str, Any]
) -> tuple[bytes, OnnxRuntime] | None:
    """The first candidate that passes the proof; every attempt is noted in the report."""
    size = model_bytes(pipeline)
    if size > limits.model_bytes:
        report["reason"] = f"not compiled: the fitted model has {size} bytes, over {limits.model_bytes}"
        return None
    begin = time.monotonic()
    try:
        expected = proof.reference(native, rows, spread, limits.prove_s)
    except CannotPredict:
        report["reason"] = "not compiled: the pipeline itself does not answer the held-out rows"
        return None
    report["seconds"]["reference"] = _since(begin)
    for precision in _ways(pipeline):
        attempt: dict[str, Any] = {"precision": precision.name}
        report["attempts"].append(attempt)
        try:
            data, runtime = _attempt(pipeline, precision, expected, limits, attempt)
        except Exception as error:  # converters raise anything; any of it means "does not compile"
            attempt["outcome"] = _sentence(error)
            continue
        attempt["outcome"] = "proven"
        report["precision"] = precision.name
        return data, runtime
    report["reason"] = "not compiled: no graph was proven equal to the pipeline"
    return None


def _ways(pipeline: Any) -> list[convert.Precision]:
    """The precisions to try, the best first."""
    ways = [convert.EXACT, convert.SINGLE]
    if has_shared_leaves(pipeline):
        return [convert.SHARED_LEAVES, *ways]
    return [convert.SMALL_TREES, *ways] if has_small_trees(pipeline) else ways


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _attempt(
    pipeline: Any, precision: convert.Precision, expected: proof.Reference, limits: Limits, attempt: dict[str, Any]
) -> tuple[bytes, OnnxRuntime]:
    begin = time.monotonic()
    probabilities = expected.output.probabilities is not None
    with alarm(limits.convert_s):
        data = convert.graph(
            pipeline, precision, expected.rows.numbers.shape[1], expected.rows.texts.shape[1], probabilities
        )
    attempt["convert_s"] = _since(begin)
    attempt["size_bytes"] = len(data)
    if len(data) > limits.graph_bytes:
        raise store_errors.TooLarge(f"the graph has {len(data)} bytes, over {limits.graph_bytes}")
    begin = time.monotonic()
    runtime = OnnxRuntime(data)
    attempt["proof"] = {**expected.counts(), **proof.compare(runtime, expected)}
    attempt["proof"].update(proof.batches(runtime, expected.rows, limits.prove_s / 2))
    attempt["prove_s"] = _since(begin)
    return data, runtime


def _speeds(graph: Runtime, native: Runtime, rows: Rows, limits: Limits) -> dict[str, Any]:
    ours, theirs = speed.measure(graph, rows, limits.measure_s), speed.measure(native, rows, limits.measure_s)
    ratio = round(speed.ratio(ours.speed, theirs.speed), 2)
    return {**_described({"onnx": ours, "skops": theirs}), "ratio": ratio, "rule": speed.RULE}


def _described(measured: dict[str, speed.Measured]) -> dict[str, Any]:
    """The figures by runtime and rows, and which of them were reckoned and not measured, if any."""
    named = {kind: {str(size): time_us for size, time_us in one.speed.items()} for kind, one in measured.items()}
    reckoned = {kind: list(one.reckoned) for kind, one in measured.items() if one.reckoned}
    return {"microseconds_by_rows": named} | ({"reckoned_rows": reckoned} if reckoned else {})


def _native_speed(native: Runtime, rows: Rows, limits: Limits) -> dict[str, Any]:
    """There is no choice, but who reads the manifest wants to know what a call costs."""
    try:
        return _described({"skops": speed.measure(native, rows, limits.measure_s)})
    except Exception as error:  # an estimator may need more memory for 10,000 rows than there is
        return {"outcome": _sentence(error)}


def _skops(
    pipeline: Any,
    native: Runtime,
    rows: Rows,
    report: dict[str, Any],
    graph: tuple[bytes, OnnxRuntime] | None,
    limits: Limits,
) -> Compiled:
    """Serve the pipeline itself, if a predictor would load it; else the graph, however slow."""
    begin = time.monotonic()
    try:
        data = _dumped(pipeline)
        serving = skops_file.load(data)
        _check_equal(serving, native, rows)
    except Exception as error:  # skops raises anything for what it cannot store
        if graph is None:
            name = type(pipeline.steps[-1][1]).__name__ if hasattr(pipeline, "steps") else type(pipeline).__name__
            raise errors.TrainingFailed(f"{name} was fitted but cannot be stored: {_sentence(error)}") from error
        report["reason"] = f"scikit-learn is faster, but the pipeline cannot be stored: {_sentence(error)}"
        return Compiled("onnx", graph[0], None, _recorded(graph[1], rows), report, graph[1])
    report["seconds"]["skops"] = _since(begin)
    if graph is None:
        report["speed"] = _native_speed(native, rows, limits)
    report.setdefault("reason", "a graph was proven equal, but scikit-learn is the cheaper one")
    return Compiled("skops", None, data, _recorded(serving, rows), report, serving)


def _dumped(pipeline: Any) -> bytes:
    import skops.io

    data: bytes = skops.io.dumps(pipeline)
    return data


def _check_equal(loaded: Runtime, native: Runtime, rows: Rows) -> None:
    some = rows.take(slice(100))
    one, other = some.ask(loaded), some.ask(native)
    if not np.array_equal(one.labels, other.labels, equal_nan=one.labels.dtype != np.int64):
        raise ValueError("the stored pipeline answers otherwise")
