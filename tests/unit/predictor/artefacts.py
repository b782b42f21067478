"""Small versions on a real volume: graphs made by hand, published as a trainer publishes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from model_store import aliases, publishing, reading, signing
from model_store import runtime as runtimes
from model_store.manifest import Manifest
from model_store.reading import Artefact
from model_store.runtime import onnx_graph, samples
from model_store.volume import Volume
from tables.columns import Column
from tables.schema import Schema

NUMBERS = Schema((Column("a", "number"), Column("b", "number")))
"""Two numbers: what ``classifier`` and ``regression`` take."""

MIXED = Schema(
    (
        Column("age", "number"),
        Column("city", "text"),
        Column("member", "boolean"),
        Column("since", "date", "2020-01-01T00:00:00"),
    )
)
"""Every type: what ``mixed`` takes."""


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> bytes:
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return bytes(made.SerializeToString())


def _numbers(width: int) -> Any:
    return helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, width])


def regression(slope: float = 1.0, exponential: bool = False) -> bytes:
    """``value`` = slope * (a + b), or its exponential, which grows beyond every number."""
    nodes = [helper.make_node("MatMul", ["numbers", "weights"], ["sum" if exponential else "value"])]
    if exponential:
        nodes.append(helper.make_node("Exp", ["sum"], ["value"]))
    value = helper.make_tensor_value_info("value", TensorProto.DOUBLE, [None, 1])
    return _model(nodes, [_numbers(2)], [value], {"weights": np.full((2, 1), float(slope))})


def classifier(probabilities: bool = True, padding: int = 0) -> bytes:
    """Class 1 where a > b, else 0; ``padding`` bytes make the graph larger."""
    nodes = [
        helper.make_node("MatMul", ["numbers", "weights"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [helper.make_tensor_value_info("label", TensorProto.INT64, [None])]
    if probabilities:
        nodes.append(helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1))
        outputs.append(helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]))
    constants = {"weights": np.array([[0.0, 1.0], [1.0, 0.0]])}
    if padding:
        # Used, so that no optimiser throws it away: the reduced padding is 0.
        constants["padding"] = np.zeros(padding // 8)
        nodes[0] = helper.make_node("MatMul", ["numbers", "weights"], ["raw"])
        nodes.insert(1, helper.make_node("ReduceSum", ["padding"], ["nothing"], keepdims=0))
        nodes.insert(2, helper.make_node("Add", ["raw", "nothing"], ["scores"]))
    return _model(nodes, [_numbers(2)], outputs, constants)


def mixed() -> bytes:
    """``value`` = age + member + since, plus 100 where the city is Paris; 7 for what is missing."""
    nodes = [
        helper.make_node("IsNaN", ["numbers"], ["missing"]),
        helper.make_node("Where", ["missing", "seven", "numbers"], ["filled"]),
        helper.make_node("ReduceSum", ["filled", "axis"], ["sum"], keepdims=1),
        helper.make_node(
            "LabelEncoder",
            ["texts"],
            ["codes"],
            domain="ai.onnx.ml",
            keys_strings=["Paris"],
            values_floats=[100.0],
            default_float=0.0,
        ),
        helper.make_node("Cast", ["codes"], ["bonus"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["sum", "bonus"], ["value"]),
    ]
    texts = helper.make_tensor_value_info("texts", TensorProto.STRING, [None, 1])
    value = helper.make_tensor_value_info("value", TensorProto.DOUBLE, [None, 1])
    constants = {"seven": np.float64(7.0), "axis": np.array([1])}
    return _model(nodes, [_numbers(3), texts], [value], constants)


def sample_file(graph: bytes, schema: Schema, numbers: list[list[float]] | None = None) -> bytes:
    """The content of samples.json for a graph."""
    rows = np.array(numbers or [[0.5] * len(schema.number_names), [1.0] * len(schema.number_names)])
    texts = np.full((len(rows), len(schema.text_names)), "Paris", dtype=object)
    return samples.record(onnx_graph.OnnxRuntime(graph), rows.astype(np.float64), texts)


def manifest(model: str, job_id: str, schema: Schema, classes: list[Any] | None, **fields: Any) -> Manifest:
    values: dict[str, Any] = {
        "created_at": "2026-05-01T10:00:00+00:00",
        "estimator": "Handmade",
        "task": "regression" if classes is None else "classification",
        "features": schema.to_builtins(),
        "target": "y",
        "classes": classes,
        "runtime": "onnx",
        "score": 0.5,
        "scoring": "r2",
        **fields,
    }
    return Manifest(model=model, job_id=job_id, **values)


def artefact(graph: bytes, schema: Schema = NUMBERS, classes: list[Any] | None = None) -> Artefact:
    """A version in memory that was never on a disk."""
    files = {"model.onnx": graph, "schema.json": schema.encode(), "samples.json": sample_file(graph, schema)}
    return Artefact(manifest("m", "job", schema, classes), files)


@dataclass
class Shelf:
    """A volume, its keys, and a trainer's hand to fill it."""

    volume: Volume
    keys: Path
    jobs: int = 0

    @classmethod
    def make(cls, folder: Path) -> Shelf:
        (folder / "models").mkdir()
        signing.generate_keys(folder / "keys")
        return cls(Volume(folder / "models"), folder / "keys")

    @property
    def verify_key_file(self) -> Path:
        return self.keys / "signing.pub"

    @property
    def verifier(self) -> signing.Verifier:
        return signing.Verifier(self.verify_key_file)

    def publish(
        self,
        graph: bytes,
        model: str = "m",
        *,
        schema: Schema = NUMBERS,
        classes: list[Any] | None = None,
        files: dict[str, bytes] | None = None,
        champion: bool = True,
        **fields: Any,
    ) -> int:
        """Publish a version, by default as the champion; its number."""
        self.jobs += 1
        job_id = f"job-{self.jobs}"
        folder = publishing.draft(self.volume, model, job_id)
        content = {"model.onnx": graph, "schema.json": schema.encode(), "model.joblib": b"for people"}
        content["samples.json"] = b"" if files and "samples.json" in files else sample_file(graph, schema)
        for name, data in (content | (files or {})).items():
            (folder / name).write_bytes(data)
        described = manifest(model, job_id, schema, classes, **fields)
        signer = signing.Signer(self.keys / "signing.key")
        version = publishing.publish(self.volume, folder, described, signer, self.verifier).version
        if champion:
            aliases.move_alias(self.volume, model, "champion", version)
        return version

    def spoil(self, version: int, model: str = "m", file: str = "model.onnx") -> None:
        """Change one bit of a stored file."""
        path = self.volume.version(model, version) / file
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def read(self, version: int, model: str = "m") -> Artefact:
        return reading.read(self.volume, model, version, self.verifier, 10**8)

    def load(self, version: int, model: str = "m") -> runtimes.Runtime:
        return runtimes.load(self.read(version, model))
