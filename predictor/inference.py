"""The computing of one batch: requests' bytes come in, an answer or an error for each goes out.

A function of a loaded version and bytes, with no broker and no disk. All requests that can be
read share one inference; a bad row spoils its own request and no other.
Requests as they usually are share one decoding and one encoding too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from model_store.runtime import CannotPredict, Output
from predictor import answers
from predictor.loaded import LoadedVersion
from tables import batch as tables
from tables import errors as table_errors
from tables import joined, rows
from tables.batch import Batch
from wire import errors


class Asked(NamedTuple):
    """One request of a batch: its rows as JSON, and whether probabilities are wanted."""

    body: bytes | memoryview
    probabilities: bool


class Answer(NamedTuple):
    """One request's answer: JSON members and how many rows they answer."""

    members: bytes
    rows: int


Outcome = Answer | errors.WarrenError
"""How one request ended."""


PART_ROWS: Final = 1_000
"""Rows of one call of a graph: up to there publishing has proven that a row's answer is the same in any batch."""


def compute(version: LoadedVersion, asked: Sequence[Asked], *, max_rows: int) -> list[Outcome]:
    """Answer each request, in order; ``max_rows`` bounds each by itself.

    All at once where every row is as usual; else each by itself, with the same meaning.
    """
    answered = together(version, asked, max_rows)
    return each_alone(version, asked, max_rows) if answered is None else answered


def together(version: LoadedVersion, asked: Sequence[Asked], max_rows: int) -> list[Outcome] | None:
    """Every request's answer, in time in proportion to the rows; None where one of them is not as usual."""
    if not asked:
        return []
    decoded = joined.decode([bytes(each.body) for each in asked], version.schema, max_rows=max_rows)
    if decoded is None:
        return None
    batch, counts = decoded
    wanted = [each.probabilities for each in asked]
    output = _predict(version, batch, any(wanted))
    members = None if output is None else answers.encode_all(version, output, counts, wanted)
    return None if members is None else list(map(Answer, members, counts))


def each_alone(version: LoadedVersion, asked: Sequence[Asked], max_rows: int) -> list[Outcome]:
    """Every request's answer or error, each decoded and encoded by itself."""
    decoded = [_decode(version, each, max_rows) for each in asked]
    readable = [each for each in decoded if isinstance(each, Batch)]
    if not readable:
        return [each for each in decoded if isinstance(each, errors.WarrenError)]
    output = _predict(version, tables.concat(readable), any(each.probabilities for each in asked))
    outcomes: list[Outcome] = []
    start = 0
    for each, rows_or_error in zip(asked, decoded, strict=True):
        if isinstance(rows_or_error, errors.WarrenError):
            outcomes.append(rows_or_error)
        elif output is None:
            # Some row has no answer: each request alone shows whose it is.
            outcomes.append(_alone(version, rows_or_error, each.probabilities))
        else:
            stop = start + len(rows_or_error)
            outcomes.append(_answer(version, output, start, stop, each.probabilities))
            start = stop
    return outcomes


def _decode(version: LoadedVersion, asked: Asked, max_rows: int) -> Batch | errors.WarrenError:
    try:
        return rows.decode_json(asked.body, version.schema, max_rows=max_rows)
    except table_errors.RowErrors as error:
        found = [errors.FieldError(at, problem) for at, problem in error.errors]
        return errors.BadInput("Some rows cannot be read.", errors=found)
    except table_errors.TooManyRows as error:
        return errors.TooLarge(f"A prediction may have at most {error.max_rows} rows.")
    except table_errors.NotJson as error:
        return errors.MalformedBody(f"The rows cannot be read: {error}.")


def _predict(version: LoadedVersion, batch: Batch, probabilities: bool) -> Output | None:
    predict = version.runtime.predict
    # Where nothing is proven, as for scikit-learn, the rows stay together.
    step = PART_ROWS if version.runtime.kind == "onnx" else max(1, len(batch))
    try:
        parts = [
            predict(part.numbers, part.texts, probabilities)
            for part in (batch.rows(start, start + step) for start in range(0, len(batch), step))
        ]
    except CannotPredict:
        return None
    return parts[0] if len(parts) == 1 else _whole(parts)


def _whole(parts: Sequence[Output]) -> Output:
    shares = [part.probabilities for part in parts if part.probabilities is not None]
    return Output(np.concatenate([part.labels for part in parts]), np.concatenate(shares) if shares else None)


def _alone(version: LoadedVersion, batch: Batch, probabilities: bool) -> Outcome:
    output = _predict(version, batch, probabilities)
    if output is None:
        return errors.BadInput("The model has no answer for these rows: a number in them is too large for it.")
    return _answer(version, output, 0, len(batch), probabilities)


def _answer(version: LoadedVersion, output: Output, start: int, stop: int, probabilities: bool) -> Outcome:
    try:
        return Answer(answers.encode(version, output, start, stop, probabilities=probabilities), stop - start)
    except errors.WarrenError as error:
        return error
