"""The computing of one batch: requests' bytes come in, an answer or an error for each goes out.

A function of a loaded version and bytes, with no broker and no disk. All requests that can be
read share one inference; a bad row spoils its own request and no other.
Requests as they usually are share one decoding and one encoding too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_store.runtime import PART_ROWS, CannotPredict, Output
from predictor import answers, encodings
from predictor.encodings import Answer, Asked
from predictor.loaded import LoadedVersion
from tables import batch as tables
from tables import joined
from tables.batch import Batch
from wire import errors

Outcome = Answer | errors.WarrenError
"""How one request ended."""


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
    if any(each.encoding != "json" for each in asked):
        return _together(version, asked, max_rows)
    decoded = joined.decode([bytes(each.body) for each in asked], version.schema, max_rows=max_rows)
    if decoded is None:
        return None
    batch, counts = decoded
    wanted = [each.probabilities for each in asked]
    output = _predict(version, batch, any(wanted))
    members = None if output is None else answers.encode_all(version, output, counts, wanted)
    return None if members is None else list(map(Answer, members, counts))


def _together(version: LoadedVersion, asked: Sequence[Asked], max_rows: int) -> list[Outcome] | None:
    """The same for requests of other encodings: each decoded by itself, one inference for all."""
    decoded = [encodings.decode(version.schema, each, max_rows) for each in asked]
    readable = [each for each in decoded if isinstance(each, Batch)]
    if len(readable) < len(decoded):
        return None
    output = _predict(version, tables.concat(readable), any(each.probabilities for each in asked))
    if output is None:
        return None
    stop = 0
    answered: list[Outcome] = []
    for each, batch in zip(asked, readable, strict=True):
        start, stop = stop, stop + len(batch)
        outcome = _answer(version, each, output, start, stop)
        if not isinstance(outcome, Answer):
            return None
        answered.append(outcome)
    return answered


def each_alone(version: LoadedVersion, asked: Sequence[Asked], max_rows: int) -> list[Outcome]:
    """Every request's answer or error, each decoded and encoded by itself."""
    decoded = [encodings.decode(version.schema, each, max_rows) for each in asked]
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
            outcomes.append(_alone(version, each, rows_or_error))
        else:
            stop = start + len(rows_or_error)
            outcomes.append(_answer(version, each, output, start, stop))
            start = stop
    return outcomes


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
    return whole(parts)


def whole(parts: Sequence[Output]) -> Output:
    """The answers of consecutive rows, at least one part, as one."""
    if len(parts) == 1:
        return parts[0]
    shares = [part.probabilities for part in parts if part.probabilities is not None]
    return Output(np.concatenate([part.labels for part in parts]), np.concatenate(shares) if shares else None)


def _alone(version: LoadedVersion, asked: Asked, batch: Batch) -> Outcome:
    output = _predict(version, batch, asked.probabilities)
    if output is None:
        return errors.BadInput("The model has no answer for these rows: a number in them is too large for it.")
    return _answer(version, asked, output, 0, len(batch))


def _answer(version: LoadedVersion, asked: Asked, output: Output, start: int, stop: int) -> Outcome:
    try:
        return encodings.encode(version, asked, output, start, stop)
    except errors.WarrenError as error:
        return error
