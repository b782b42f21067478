"""A version's own sample rows and the answers they must get: written at publish, replayed at load.

``samples.json``: ``{"numbers": [[...]], "texts": [[...]], "labels": [...], "probabilities":
[[...]] or null}``, about 20 rows, null for a missing number. A predictor whose libraries or
processor answer otherwise must not serve the version.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from model_store import errors
from model_store.runtime import outputs

FILE = "samples.json"
"""The file's name in the version folder."""

ROWS = 20
"""Rows kept: enough to meet every class and branch of a small model, a few KB in the folder."""

PROBABILITY_TOLERANCE = 1e-5
"""Largest difference of a probability: what a graph was allowed at publish, see docs/compile.md."""

VALUE_TOLERANCE = 1e-5
"""Largest difference of a regression's value, as a share of the stored values' size and spread."""


class Samples(msgspec.Struct, frozen=True):
    """Rows as JSON (None: a missing number) and the answers they got; class indices are whole numbers."""

    numbers: list[list[float | None]]
    texts: list[list[str]]
    labels: list[float]
    probabilities: list[list[float]] | None = None


def record(runtime: outputs.Runtime, numbers: outputs.Numbers, texts: outputs.Texts) -> bytes:
    """Ask the runtime about at most ROWS rows; the content of samples.json.

    A row without a finite answer is left out: JSON has no infinity. Raises outputs.CannotPredict.
    """
    numbers, texts = numbers[:ROWS], texts[:ROWS]
    output = runtime.predict(numbers, texts, probabilities=True)
    finite = np.isfinite(output.labels)
    if output.probabilities is not None:
        finite &= np.isfinite(output.probabilities).all(axis=1)
    kept = np.flatnonzero(finite)
    probabilities = None if output.probabilities is None else output.probabilities[kept].tolist()
    return msgspec.json.encode(
        Samples(
            numbers=[[None if math.isnan(cell) else cell for cell in row] for row in numbers[kept].tolist()],
            texts=texts[kept].tolist(),
            labels=output.labels[kept].tolist(),
            probabilities=probabilities,
        )
    )


def replay(runtime: outputs.Runtime, data: bytes) -> None:
    """Ask again and compare. Raises errors.Corrupt when an answer differs or the file cannot be read."""
    try:
        stored = msgspec.json.decode(data, type=Samples)
        if not stored.labels:
            return
        numbers = np.array(stored.numbers, dtype=np.float64).reshape(len(stored.labels), -1)
        texts = np.array(stored.texts, dtype=object).reshape(len(stored.labels), -1)
    except (msgspec.DecodeError, ValueError) as error:
        raise errors.Corrupt("the samples cannot be read") from error
    try:
        output = runtime.predict(numbers, texts, probabilities=True)
    except MemoryError:
        raise
    except Exception as error:  # a pipeline that somebody made up fails anywhere in scikit-learn
        raise errors.Corrupt("the version cannot answer its own samples") from error
    if not (_same_labels(output, stored) and _same_probabilities(output, stored)):
        raise errors.Corrupt("the version answers its own samples otherwise than when it was published")


def _same_labels(output: outputs.Output, stored: Samples) -> bool:
    expected = np.array(stored.labels)
    if output.labels.dtype == np.int64:
        return np.array_equal(output.labels, expected)
    scale = float(np.std(expected)) + float(np.max(np.abs(expected)))
    return bool(np.all(np.abs(output.labels - expected) <= VALUE_TOLERANCE * scale))


def _same_probabilities(output: outputs.Output, stored: Samples) -> bool:
    if output.probabilities is None or stored.probabilities is None:
        return output.probabilities is None and stored.probabilities is None
    expected = np.array(stored.probabilities)
    if output.probabilities.shape != expected.shape:
        return False
    return bool(np.all(np.abs(output.probabilities - expected) <= PROBABILITY_TOLERANCE))
