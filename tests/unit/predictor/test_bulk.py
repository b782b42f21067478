"""A block of an offline prediction: computed in parts, between live predictions, with a live one's answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pika
import pytest

from predictor import bulk as bulks
from predictor.bulk import Bulk
from predictor.live_traffic import LiveTraffic
from predictor.references import References
from tests.unit.predictor.artefacts import Shelf, classifier, regression
from wire import errors, frames
from wire.requests import Request


class Traffic(LiveTraffic):
    """Counts the waits."""

    def __init__(self) -> None:
        super().__init__(0, 1)
        self.waits = 0

    def wait_quiet(self, worked_s: float = 0.0) -> None:
        self.waits += 1


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def bulk(references: References, traffic: Traffic) -> Bulk:
    return Bulk(references, traffic, max_rows=1000, slice_s=0.002)


def request(
    rows: bytes, *, probabilities: bool = False, redelivered: bool = False, kind: str = "", **to: Any
) -> Request:
    items = (frames.BatchItem(len(rows), 0, probabilities=probabilities),) * to.pop("items", 1)
    body = frames.encode(frames.BatchHeader("m", items, **to), [rows] * len(items))
    method = SimpleNamespace(delivery_tag=1, redelivered=redelivered)
    return Request(None, SimpleNamespace(), method, pika.BasicProperties(type=kind or frames.BATCH_TYPE), body)  # type: ignore[arg-type]


def answered(bulk: Bulk, asked: Request, monkeypatch: pytest.MonkeyPatch) -> tuple[frames.ReplyHeader, Any]:
    sent: list[bytes] = []
    monkeypatch.setattr(asked, "reply_raw", lambda body, kind: sent.append(body))
    bulk.handle(asked)
    header, blobs = frames.decode_reply(sent[0])
    return header, orjson.loads(b"{" + bytes(blobs[0]) + b"}") if blobs else None


def rows(count: int) -> bytes:
    return orjson.dumps([[float(at), 1.0] for at in range(count)])


def test_a_block_is_answered_by_the_version_it_names(shelf: Shelf, bulk: Bulk, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.publish(regression(1))
    shelf.publish(regression(2))
    header, answer = answered(bulk, request(b"[[1,2],[null,1]]", version=1), monkeypatch)
    assert header.version == 1
    assert header.items[0].error is not None  # NaN has no finite answer
    header, answer = answered(bulk, request(b"[[1,2]]", version=1), monkeypatch)
    assert answer == {"predictions": [3.0]}


def test_a_slow_version_is_computed_in_parts_and_waits_before_each(
    shelf: Shelf, bulk: Bulk, references: References, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(classifier(), classes=["no", "yes"])
    version = references.resolve("m", 1, "", bulks.Deadline.after(30))
    monkeypatch.setattr(version.pace, "estimate_s", lambda count: count * 1e-4)
    _, whole = answered(bulk, request(rows(500), probabilities=True), monkeypatch)
    assert traffic.waits > 500 // 30
    traffic.waits = 0
    monkeypatch.setattr(version.pace, "estimate_s", lambda count: 0.0)
    _, at_once = answered(bulk, request(rows(500), probabilities=True), monkeypatch)
    assert traffic.waits == 1
    assert whole == at_once
    assert [len(whole[name]) for name in ("predictions", "probabilities")] == [500, 500]


def test_where_nothing_is_proven_the_parts_are_always_the_same(
    shelf: Shelf, bulk: Bulk, references: References, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(regression(1))
    version = references.resolve("m", 1, "", bulks.Deadline.after(30))
    monkeypatch.setattr(version.runtime, "kind", "skops", raising=False)
    answered(bulk, request(rows(250)), monkeypatch)
    assert traffic.waits == 3


def test_errors_of_the_rows_are_the_answer(shelf: Shelf, bulk: Bulk, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.publish(classifier(probabilities=False), classes=["no", "yes"])
    for asked, code in (
        (request(b'[["x",1]]'), "bad_input"),
        (request(rows(1001)), "too_large"),
        (request(rows(1), probabilities=True), "bad_input"),
    ):
        header, _ = answered(bulk, asked, monkeypatch)
        assert header.items[0].error is not None
        assert header.items[0].error.code == code


def test_an_answer_beyond_every_number_is_an_error_of_the_rows(
    shelf: Shelf, bulk: Bulk, references: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(regression(1))
    version = references.resolve("m", 1, "", bulks.Deadline.after(30))

    def predict(*_: Any) -> Any:
        raise bulks.CannotPredict("too large")

    monkeypatch.setattr(version.runtime, "predict", predict)
    header, _ = answered(bulk, request(rows(2)), monkeypatch)
    assert header.items[0].error is not None
    assert header.items[0].error.code == "bad_input"


def test_a_block_that_came_before_is_not_computed(shelf: Shelf, bulk: Bulk, traffic: Traffic) -> None:
    shelf.publish(regression(1))
    with pytest.raises(errors.RetryAlone):
        bulk.handle(request(rows(1), redelivered=True))
    assert traffic.waits == 0


def test_what_is_no_block_is_malformed(bulk: Bulk) -> None:
    for asked in (request(rows(1), kind="other"), request(rows(1), items=2)):
        with pytest.raises(errors.MalformedBody):
            bulk.handle(asked)


def test_a_version_that_is_not_there_fails_the_block(bulk: Bulk) -> None:
    with pytest.raises(errors.ModelNotFound):
        bulk.handle(request(rows(1), version=3))
