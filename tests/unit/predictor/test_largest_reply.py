"""Answers and refusals that together are more than a message holds."""

from __future__ import annotations

import pytest

from predictor import batches, loaded
from predictor.encodings import Answer
from predictor.inference import Outcome
from predictor.loaded import LoadedVersion
from tests.unit.predictor.artefacts import artefact, regression
from wire import errors, frames, topology

MOST_BYTES = topology.MAX_MESSAGE_BYTES


@pytest.fixture(scope="module")
def version() -> LoadedVersion:
    return loaded.prepare(artefact(regression()))


def frame(version: LoadedVersion, *outcomes: Outcome) -> bytes:
    return batches._frame(version, outcomes, batches._Times(0.0, 0.0))


def refusal() -> errors.WarrenError:
    """As long as one can be."""
    places = [errors.FieldError(f"instances[{at}].column", "x" * 200) for at in range(errors.MAX_FIELD_ERRORS)]
    return errors.BadInput(errors=places)


def test_refusals_count_as_answers_do(version: LoadedVersion) -> None:
    refused = [refusal() for _ in range(400)]
    answer = Answer(bytes(MOST_BYTES - 1_000_000), 1)
    assert len(frame(version, answer, refused[0])) <= MOST_BYTES
    with pytest.raises(errors.RetryAlone):
        frame(version, answer, *refused)


def test_the_largest_answer_is_sent_and_one_byte_more_is_refused(version: LoadedVersion) -> None:
    head = len(frame(version, Answer(bytes(MOST_BYTES - 1_000), 1))) - (MOST_BYTES - 1_000)
    assert len(frame(version, Answer(bytes(MOST_BYTES - head), 1))) == MOST_BYTES
    header, blobs = frames.decode_reply(frame(version, Answer(bytes(MOST_BYTES - head + 1), 1)))
    assert [item.error.code for item in header.items if item.error] == [errors.TooLarge.code]
    assert [bytes(blob) for blob in blobs] == [b""]
