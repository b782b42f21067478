"""A request's answer as tensors: labels or values, and probabilities, in JSON or binary.

Beside ``answers``, for the protocols whose clients say which outputs they want. ``wire.datatypes`` says
what a label is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model_store.runtime import Output
from predictor import answers
from predictor.loaded import LoadedVersion
from wire import datatypes, errors, frames

_LENGTH = struct.Struct("<I")
_DTYPES: Final = {"INT64": "<i8", "FP64": "<f8", "BOOL": "u1"}


def encode(
    version: LoadedVersion, output: Output, start: int, stop: int, wanted: Sequence[frames.Wanted]
) -> tuple[bytes, tuple[frames.Output, ...]]:
    """The data of the wanted outputs for rows ``start`` to ``stop`` (exclusive), and what each is.

    Raises errors.BadInput when probabilities are asked of a version that has none, or when a row's
    answer is not a finite number; errors.InternalError when the model answers with an unknown class.
    """
    pieces: list[bytes] = []
    described: list[frames.Output] = []
    for each in wanted:
        if each.name == "predict":
            values = output.labels[start:stop]
            datatype = datatypes.of_labels(version.class_values)
            data = _labels(version, values, datatype, each.form)
        else:
            values, datatype = _probabilities(output, start, stop), "FP64"
            data = _numbers(values, each.form)
        pieces.append(data)
        described.append(frames.Output(each.name, datatype, tuple(values.shape), len(data)))
    return b"".join(pieces), tuple(described)


def _probabilities(output: Output, start: int, stop: int) -> NDArray[np.float64]:
    if output.probabilities is None:
        problem = errors.FieldError("outputs", "this version has no probabilities; ask for predict alone")
        raise errors.BadInput("The version has no probabilities.", errors=(problem,))
    return output.probabilities[start:stop]


def _labels(version: LoadedVersion, labels: NDArray[Any], datatype: str, form: frames.Form) -> bytes:
    names = version.class_values
    if names is None:
        return _numbers(labels, form)
    if form == "json":
        return answers.classes(version, labels)
    if labels.size and not 0 <= labels.min() <= labels.max() < len(names):
        raise errors.InternalError("the model answered with a class the manifest does not list")
    if datatype == "BYTES":
        texts = [str(name).encode() for name in names]
        elements = [_LENGTH.pack(len(text)) + text for text in texts]
        return b"".join(map(elements.__getitem__, labels.tolist()))
    raw: bytes = np.array(names, dtype=_DTYPES[datatype])[labels].tobytes()
    return raw


def _numbers(values: NDArray[np.float64], form: frames.Form) -> bytes:
    answers.check_finite(values)
    flat = np.ascontiguousarray(values, dtype="<f8").reshape(-1)
    return flat.tobytes() if form == "raw" else answers.numbers(flat)
