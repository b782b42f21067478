"""A request's answer as JSON members, encoded once: what the replica puts between braces.

From the runtime's arrays to ``"predictions":[…]`` and ``"probabilities":[…]``. Numbers are
written in their shortest form that reads back the same; classes by the texts of the manifest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from model_store.runtime import Output
from predictor.loaded import LoadedVersion
from wire import errors

PART_VALUES: Final = 4_096
"""Numbers written at once: a tenth of a millisecond, in which no other Python thread runs."""


def encode(version: LoadedVersion, output: Output, start: int, stop: int, *, probabilities: bool) -> bytes:
    """The members for rows ``start`` to ``stop`` (exclusive) of an output.

    Raises BadInput when probabilities are asked of a version that has none, or when a row's
    answer is not a finite number; InternalError when the model answers with an unknown class.
    """
    labels = output.labels[start:stop]
    members = b'"predictions":' + (_values(labels) if version.classes is None else classes(version, labels))
    if not probabilities:
        return members
    if output.probabilities is None:
        problem = errors.FieldError("probabilities", "this version has no probabilities; leave it out or send false")
        raise errors.BadInput("The version has no probabilities.", errors=(problem,))
    return members + b',"probabilities":' + _values(output.probabilities[start:stop])


def encode_all(
    version: LoadedVersion, output: Output, counts: Sequence[int], probabilities: Sequence[bool]
) -> list[bytes] | None:
    """The members of every request at once, or None where ``encode`` has to say whose rows have no answer.

    ``counts``: the rows of each request, in order; ``probabilities``: which of them want those too.
    """
    try:
        labels = _pieces(output.labels) if version.classes is None else _names(version, output.labels)
        shares = _shares(output, any(probabilities))
    except errors.WarrenError:
        return None
    members, start = [], 0
    for count, wanted in zip(counts, probabilities, strict=True):
        stop = start + count
        text = labels[start] if count == 1 else b",".join(labels[start:stop])
        one = b'"predictions":[' + text + b"]"
        if wanted:
            one += b',"probabilities":[[' + b"],[".join(shares[start:stop]) + b"]]"
        members.append(one)
        start = stop
    return members


def _shares(output: Output, wanted: bool) -> list[bytes]:
    """The text of each row's probabilities, without brackets."""
    if not wanted:
        return []
    if output.probabilities is None:
        raise errors.BadInput
    return _pieces(output.probabilities)


def _pieces(values: NDArray[Any]) -> list[bytes]:
    """The text of each row of finite numbers, without brackets; written in parts, so nobody waits for long."""
    between = 1 if values.ndim == 1 else 2
    separator = b"," if between == 1 else b"],["
    step = max(1, PART_VALUES // max(1, values[:1].size))
    pieces: list[bytes] = []
    for start in range(0, len(values), step):
        pieces += _values(values[start : start + step])[between:-between].split(separator)
    return pieces


def _values(values: NDArray[Any]) -> bytes:
    check_finite(values)
    return numbers(values)


def numbers(values: NDArray[Any]) -> bytes:
    """Finite numbers as JSON, nested as their array is."""
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)


def check_finite(values: NDArray[Any]) -> None:
    """Refuse an answer that is no number, naming its rows. Raises errors.BadInput."""
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


def classes(version: LoadedVersion, labels: NDArray[Any]) -> bytes:
    """Class indices as a JSON array of the classes. Raises errors.InternalError for an unknown one."""
    return b"[" + b",".join(_names(version, labels)) + b"]"


def _names(version: LoadedVersion, labels: NDArray[Any]) -> list[bytes]:
    assert version.classes is not None
    try:
        return list(map(version.classes.__getitem__, labels.tolist()))
    except KeyError as error:
        raise errors.InternalError("the model answered with a class the manifest does not list") from error
