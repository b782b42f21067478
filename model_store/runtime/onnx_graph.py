"""The usual runtime: a signed ONNX graph's bytes in, one onnxruntime session out.

The graph's inputs are ``numbers`` (float or double, rows x columns) and ``texts`` (string, rows
x columns), each there only if the version has such columns; its outputs are ``label`` (int64)
and ``probabilities`` (rows x classes, absent when the estimator has none) for a
classification, ``value`` (rows x 1) for a regression.
"""

from __future__ import annotations

import os
from typing import ClassVar, Literal

import numpy as np

from model_store import errors
from model_store.runtime import outputs, protobuf_scan

# Since 1.29 it tells its maker which models are loaded and how often they are asked, and keeps a database for that
# in the user's home, unless this is set before it begins.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

MAX_GRAPH_BYTES = 2 * 1024**3 - 1
"""Largest graph: what one Protocol Buffers message can hold."""

_INPUT_TYPES = {"numbers": ("tensor(float)", "tensor(double)"), "texts": ("tensor(string)",)}
_OUTPUT_NAMES = (["label"], ["label", "probabilities"], ["value"])
_FATAL_ONLY = 4
_SHORTAGE = ("bad_alloc", "Failed to allocate memory")


def _session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One thread and no spinning: predictors scale by processes, and a spinning pool takes the
    # cores from the broker and the replicas between two requests.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else a file that begins as onnxruntime's own format is read as that, and the scan has seen another file.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Its own lines on standard error would break our logs; what went wrong is in the exception.
    options.log_severity_level = _FATAL_ONLY
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    # It would hold the file for as long as it lives, to begin again with other providers.
    session._model_bytes = None
    return session


def _raise_shortage(error: Exception) -> None:
    """MemoryError where onnxruntime had too little memory, which it mostly says in its message alone."""
    if isinstance(error, MemoryError) or any(words in str(error) for words in _SHORTAGE):
        raise MemoryError from error


class OnnxRuntime(outputs.Runtime):
    """A graph in memory. Raises errors.Corrupt when the bytes are not a graph of ours, MemoryError without room."""

    kind: ClassVar[Literal["onnx", "skops"]] = "onnx"

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_GRAPH_BYTES:
            raise errors.TooLarge("the graph is larger than a graph can be")
        protobuf_scan.refuse_external_data(data)
        try:
            session = _session(data)
        except Exception as error:  # onnxruntime's exceptions share no base class
            _raise_shortage(error)
            raise errors.Corrupt("the graph cannot be loaded") from error
        self.size_bytes = len(data)
        self._widths: dict[str, int] = {}
        for node in session.get_inputs():
            if node.type not in _INPUT_TYPES.get(node.name, ()) or len(node.shape) != 2:
                raise errors.Corrupt("the graph has an input it must not have")
            self._widths[node.name] = node.shape[1]
            if node.name == "numbers":
                self._number_type = np.float32 if node.type == "tensor(float)" else np.float64
        names = [node.name for node in session.get_outputs()]
        if names not in _OUTPUT_NAMES:
            raise errors.Corrupt("the graph has other outputs than it must have")
        self._names = names
        self._session: onnxruntime.InferenceSession | None = session

    def predict(self, numbers: outputs.Numbers, texts: outputs.Texts, probabilities: bool = False) -> outputs.Output:
        """Answer every row. Raises outputs.CannotPredict, MemoryError."""
        wanted = self._names if probabilities else self._names[:1]
        session = self._session
        if session is None:
            raise outputs.CannotPredict("this version was unloaded")
        try:
            answers = session.run(wanted, self._feeds(numbers, texts))
        except Exception as error:  # onnxruntime's exceptions share no base class
            _raise_shortage(error)
            raise outputs.CannotPredict("the graph has no answer for these rows") from error
        if self._names[0] == "value":
            return outputs.Output(answers[0].reshape(-1).astype(np.float64, copy=False), None)
        both = len(answers) == 2
        return outputs.Output(answers[0], answers[1].astype(np.float64, copy=False) if both else None)

    def _feeds(self, numbers: outputs.Numbers, texts: outputs.Texts) -> dict[str, np.ndarray]:
        feeds: dict[str, np.ndarray] = {}
        if "numbers" in self._widths:
            if self._number_type is np.float32:
                # Beyond float32's range a number becomes infinite, as it does for the proof.
                with np.errstate(over="ignore"):
                    numbers = numbers.astype(np.float32)
            feeds["numbers"] = numbers
        if "texts" in self._widths:
            feeds["texts"] = texts
        return feeds

    def close(self) -> None:
        """Drop the session; its memory goes with the last predict that uses it."""
        self._session = None
