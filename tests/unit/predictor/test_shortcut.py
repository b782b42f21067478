"""Which batches are computed on the thread that owns the connections, and which never are."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pika
import pytest

from model_store import aliases, deletion
from predictor import batches as batching
from predictor import references as referring
from predictor.batches import Batches
from predictor.references import References
from predictor.registry import Registry
from tests.unit.predictor.artefacts import Shelf, regression
from wire import errors, frames
from wire.deadlines import Deadline
from wire.requests import Request


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look at the volume is slow because the machine is busy, and a rest ends only when a test says so."""
    monkeypatch.setattr(referring, "SLOW_LOOK_S", 60.0)
    monkeypatch.setattr(referring, "REST_S", 60.0)


@pytest.fixture
def batches(shelf: Shelf, references: References) -> Batches:
    """Knows two versions of ``m``, of which the champion, 2, is in memory."""
    shelf.publish(regression(1))
    shelf.publish(regression(2))
    references.resolve("m", 0, "", Deadline.after(30))
    return Batches(references, max_rows=1000)


def request(
    rows: bytes = b"[[1,2]]",
    *,
    redelivered: bool = False,
    kind: str = frames.BATCH_TYPE,
    remaining_ms: int = 10_000,
    **to: Any,
) -> Request:
    header = frames.BatchHeader("m", (frames.BatchItem(len(rows), remaining_ms),), **to)
    method = SimpleNamespace(delivery_tag=1, redelivered=redelivered)
    properties = pika.BasicProperties(type=kind)
    return Request(None, SimpleNamespace(), method, properties, frames.encode(header, [rows]))  # type: ignore[arg-type]


def answered(batches: Batches, asked: Request, monkeypatch: pytest.MonkeyPatch) -> bytes:
    handler = batches.shortcut(asked)
    assert handler is not None
    sent: list[bytes] = []
    monkeypatch.setattr(asked, "reply_raw", lambda body, kind: sent.append(body))
    handler(asked)
    return frames.decode_reply(sent[0])[1][0].tobytes()


def test_a_quick_batch_is_answered_where_it_arrives(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answered(batches, request(), monkeypatch) == b'"predictions":[6.0]'
    assert answered(batches, request(b'[{"a":1,"b":1}]', version=2), monkeypatch) == b'"predictions":[4.0]'


def test_what_may_take_long_goes_to_the_threads(batches: Batches) -> None:
    assert batches.shortcut(request(version=1)) is None, "not in memory"
    assert batches.shortcut(request(version=7)) is None, "not there"
    assert batches.shortcut(request(alias="canary")) is None, "no such alias"
    assert batches.shortcut(request(redelivered=True)) is None
    assert batches.shortcut(request(kind="something.else")) is None
    assert batches.shortcut(request(b"[" + b" " * batching.QUICK_BYTES + b"]")) is None


def test_a_slow_version_never_runs_there(batches: Batches, references: References) -> None:
    version = references.resolve("m", 0, "", Deadline.after(30))
    assert batches.shortcut(request()) is not None
    for _ in range(20):
        version.pace.note(1, 10 * batching.QUICK_S)
    assert batches.shortcut(request()) is None
    for _ in range(40):
        version.pace.note(1, batching.QUICK_S / 100)
    assert batches.shortcut(request()) is not None


def test_many_rows_go_to_the_threads(batches: Batches, references: References) -> None:
    version = references.resolve("m", 0, "", Deadline.after(30))
    for rows in (600, 2_000):
        version.pace.note(rows, 10 * batching.QUICK_S)
    assert batches.shortcut(request(b"[" + b",".join([b"[1,2]"] * 900) + b"]")) is None
    assert batches.shortcut(request(b"[" + b",".join([b'{"a":1}'] * 900) + b"]")) is None
    assert batches.shortcut(request(b"[" + b",".join([b"[1,2]"] * 9) + b"]")) is not None


@pytest.mark.parametrize(
    ("blobs", "many"),
    [
        ([b"[[1,2]]"], False),
        ([b"[" + b",".join([b"[1]"] * 1_000) + b"]"], False),
        ([b"[" + b",".join([b"[1]"] * 1_001) + b"]"], True),
        ([b"[" + b",".join([b'{"a":1.25,"b":-17.5}'] * 1_200) + b"]"], True),
        ([b"[[" + b",".join([b"1.25"] * 90_000) + b"]]"], False),
        ([b'[["' + b" " * 5_000 + b'"]]'] * 100, False),
        ([b"[[" + b"1.25," * 40 + b"1]]"] * 900, False),
        ([b"[" + b",".join([b"[1,2]"] * 100) + b"]"] * 12, True),
    ],
)
def test_a_batch_of_many_rows_is_told_from_one_of_many_bytes(blobs: list[bytes], many: bool) -> None:
    header = frames.BatchHeader("m", tuple(frames.BatchItem(len(blob), 1_000) for blob in blobs))
    body = frames.encode(header, blobs)
    assert batching._has_many_rows(body, *frames.decode_batch(body)) is many


def test_a_tensor_of_many_rows_is_told_by_its_shape() -> None:
    for rows, many in ((1_000, False), (1_001, True)):
        tensor = frames.Tensor("a", "FP64", (rows, 1), rows * 8)
        items = (frames.BatchItem(rows * 8, 1_000, encoding="tensors", tensors=(tensor,)),)
        body = frames.encode(frames.BatchHeader("m", items, schema=frames.SCHEMA_ENCODINGS), [bytes(rows * 8)])
        assert batching._has_many_rows(body, *frames.decode_batch(body)) is many


def test_what_is_not_as_usual_goes_to_the_threads(batches: Batches) -> None:
    assert batches.shortcut(request(b"[[1]]")) is None
    assert batches.shortcut(request(b'[["1",2]]')) is None
    assert batches.shortcut(request(b"[[1,2]", version=2)) is None
    assert batches.shortcut(request(remaining_ms=0)) is None


def test_what_scikit_learn_serves_goes_to_the_threads(
    batches: Batches, references: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = references.resolve("m", 0, "", Deadline.after(30))
    monkeypatch.setattr(type(version.runtime), "kind", "skops")
    assert batches.shortcut(request()) is None


def test_a_frame_that_cannot_be_read_is_left_to_the_threads_to_report(batches: Batches) -> None:
    spoilt = request()
    spoilt.body = b"xx"
    with pytest.raises(errors.MalformedBody):
        batches.shortcut(spoilt)


def test_a_moved_alias_and_a_deletion_are_obeyed_at_once(
    shelf: Shelf, batches: Batches, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.get("m", 1, Deadline.after(30))
    aliases.move_alias(shelf.volume, "m", "champion", 1)
    assert answered(batches, request(), monkeypatch) == b'"predictions":[3.0]'
    deletion.delete_version(shelf.volume, "m", 2)
    assert batches.shortcut(request(version=2)) is None


def test_the_version_an_alias_named_is_the_one_to_fall_back_on(
    shelf: Shelf, batches: Batches, registry: Registry, references: References
) -> None:
    shelf.publish(regression(3))
    registry.get("m", 3, Deadline.after(30))
    assert batches.shortcut(request()) is not None
    for _ in range(2):
        shelf.spoil(shelf.publish(regression(4)))
    assert references.resolve("m", 0, "", Deadline.after(30)).version == 3


def test_a_slow_volume_is_looked_at_by_the_threads_alone(
    batches: Batches, references: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referring, "SLOW_LOOK_S", -1.0)
    assert batches.shortcut(request()) is not None
    monkeypatch.setattr(referring, "SLOW_LOOK_S", 60.0)
    assert batches.shortcut(request()) is None
    monkeypatch.setattr(references, "_look_again_at", 0.0)
    assert batches.shortcut(request()) is not None


def test_a_registry_that_is_busy_is_not_waited_for(batches: Batches, registry: Registry) -> None:
    begun, over = threading.Event(), threading.Event()

    def hold() -> None:
        with registry._lock:
            begun.set()
            over.wait(15)

    holder = threading.Thread(target=hold)
    holder.start()
    assert begun.wait(15)
    assert batches.shortcut(request()) is None
    over.set()
    holder.join()
    assert batches.shortcut(request()) is not None


def test_a_version_unloaded_meanwhile_is_not_at_hand(
    batches: Batches, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry._entries["m", 2]
    stamp = type(entry.place).stamp

    def forgetting(place: Any) -> Any:
        registry.forget("m", 2)
        return stamp(place)

    monkeypatch.setattr(type(entry.place), "stamp", forgetting)
    assert batches.shortcut(request()) is None
