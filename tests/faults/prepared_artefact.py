"""The small artefact of the quick child: the sum of two numbers, in the form that a real fit leaves."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.unit.predictor import artefacts


def prepare(prepared: Path) -> None:
    """Make the folder with the artefact that ``quick-`` models are given."""
    prepared.mkdir()
    graph, schema = artefacts.regression(), artefacts.NUMBERS
    files = {"model.onnx": graph, "schema.json": schema.encode()}
    files["samples.json"] = artefacts.sample_file(graph, schema)
    for name, content in files.items():
        (prepared / name).write_bytes(content)
    trained = {
        "estimator": "Quick",
        "task": "regression",
        "params": {},
        "features": schema.to_builtins(),
        "target": "target",
        "classes": None,
        "metrics": {"r2": 1.0},
        "score": 1.0,
        "scoring": "r2",
        "dataset": {"sample": "iris", "digest": "00", "rows": 150},
        "runtime": "onnx",
        "runtime_report": {},
        "libraries": {},
        "holdout": {},
        "report": {},
        "files": list(files),
    }
    (prepared / "trained.json").write_bytes(msgspec.json.encode(trained))
