"""The four models of the benchmarks, from their own tables to a published version."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.workloads import WORKLOADS, Workload
from tests.unit.trainer.training import Bench, request


@pytest.mark.parametrize("workload", WORKLOADS, ids=[workload.name for workload in WORKLOADS])
def test_a_benchmark_model_is_served_as_a_graph_and_its_manifest_says_why(tmp_path: Path, workload: Workload) -> None:
    small = dataclasses.replace(workload, training_rows=600)
    served = Bench(tmp_path).trained(small.table(), request(workload.estimator, params=workload.params))
    assert served.trained.runtime == "onnx"
    report = json.loads(json.dumps(served.trained.runtime_report))
    assert report["reason"] == "proven equal to the pipeline, and the cheaper one"
    assert report["precision"] == ("float64, small trees as masks" if workload.name == "boosting" else "float64")
    assert report["attempts"][-1]["proof"]["batch_sizes"] >= 20
    measured = report["speed"]["microseconds_by_rows"]
    assert set(measured["onnx"]) == set(measured["skops"]) == {"1", "100", "10000"}
    assert report["speed"]["ratio"] >= 1
    assert set(served.predict(small.rows(50, seed=9))) == {"no", "yes"}
