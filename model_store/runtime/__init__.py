"""Turns a verified artefact into something that predicts: between the volume's bytes and the predictor.

``load`` picks the runtime the manifest names, from bytes in memory only; ``check_samples``
replays the version's own samples before anyone is answered by it. Importing this package
costs NumPy and onnxruntime; scikit-learn, pandas and skops come only with the first version
that is served from a skops file.
"""

from __future__ import annotations

from model_store import errors
from model_store.reading import Artefact
from model_store.runtime import onnx_graph, samples, skops_file
from model_store.runtime.outputs import PART_ROWS, CannotPredict, Output, Runtime

__all__ = ["PART_ROWS", "CannotPredict", "Output", "Runtime", "check_samples", "load"]


def load(artefact: Artefact) -> Runtime:
    """The version in memory. Raises errors.Corrupt or errors.TooLarge."""
    data = _file(artefact, artefact.manifest.served_file)
    if artefact.manifest.runtime == "onnx":
        return onnx_graph.OnnxRuntime(data)
    return skops_file.load(data)


def check_samples(runtime: Runtime, artefact: Artefact) -> None:
    """Replay samples.json. Raises errors.Corrupt when an answer differs from the stored one."""
    samples.replay(runtime, _file(artefact, samples.FILE))


def _file(artefact: Artefact, name: str) -> bytes:
    data = artefact.files.get(name)
    if data is None:
        raise errors.Corrupt(f"the version has no {name}")
    return data
