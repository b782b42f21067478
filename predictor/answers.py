"""A request's answer as JSON members, encoded once: what the replica puts between braces.

From the runtime's arrays to ``"predictions":[…]`` and ``"probabilities":[…]``. Numbers are
written in their shortest form that reads back the same; classes by the texts of the manifest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from model_store.runtime import Output
from predictor.loaded import LoadedVersion
from wire import errors


def encode(version: LoadedVersion, output: Output, start: int, stop: int, *, probabilities: bool) -> bytes:
    """The members for rows ``start`` to ``stop`` (exclusive) of an output.

    Raises BadInput when probabilities are asked of a version that has none, or when a row's
    answer is not a finite number; InternalError when the model answers with an unknown class.
    """
    labels = output.labels[start:stop]
    members = b'"predictions":' + (_values(labels) if version.classes is None else _classes(version, labels))
    if not probabilities:
        return members
    if output.probabilities is None:
        problem = errors.FieldError("probabilities", "this version has no probabilities; leave it out or send false")
        raise errors.BadInput("The version has no probabilities.", errors=(problem,))
    return members + b',"probabilities":' + _values(output.probabilities[start:stop])


def _values(values: NDArray[Any]) -> bytes:
    finite = np.isfinite(values)
    if not finite.all():
        rows = np.flatnonzero(~(finite if finite.ndim == 1 else finite.all(axis=1)))
        problem = "the model's answer for this row is not a finite number"
        raise errors.BadInput(
            "The model has no finite answer for some rows.",
            errors=[
                errors.FieldError(f"instances[{row}]", problem) for row in rows[: errors.MAX_FIELD_ERRORS].tolist()
            ],
        )
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)


def _classes(version: LoadedVersion, labels: NDArray[Any]) -> bytes:
    assert version.classes is not None
    try:
        return b"[" + b",".join(map(version.classes.__getitem__, labels.tolist())) + b"]"
    except KeyError as error:
        raise errors.InternalError("the model answered with a class the manifest does not list") from error
