"""Batches of predictions, from a replica's frame to its reply, through RabbitMQ."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from model_store import aliases, deletion
from predictor import batches
from predictor.service import PredictorService
from tests.integration.predictor.conftest import PredictorProcess
from tests.rabbit import Rabbit, eventually, wait_until
from tests.unit.predictor.artefacts import MIXED, Shelf, classifier, mixed, regression
from wire import errors, frames, messages, replies, settings, topology
from wire.async_client import AsyncRpcClient
from wire.client import RpcClient
from wire.deadlines import Deadline

Answered = tuple[frames.ReplyHeader, list[Any]]


def item(rows: bytes, **fields: Any) -> frames.BatchItem:
    return frames.BatchItem(len(rows), **{"remaining_ms": 60_000} | fields)


async def send(
    client: AsyncRpcClient, *requests: Any, model: str = "m", version: int = 0, alias: str = "", **fields: Any
) -> Answered:
    """One batch of rows; the reply's header and each request's answer (an object, or the error's code)."""
    rows = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in requests]
    header = frames.BatchHeader(model, tuple(item(each, **fields) for each in rows), version, alias)
    delivery = await client.call_raw(
        topology.PREDICT, frames.encode(header, rows), frames.BATCH_TYPE, deadline=Deadline.after(60)
    )
    if delivery.kind == messages.Failure.TYPE:
        raise errors.from_body(messages.Failure.decode(delivery.body).error)
    reply, blobs = frames.decode_reply(delivery.body)
    answers = [
        json.loads(b"{" + blob.tobytes() + b"}") if each.error is None else each.error.code
        for each, blob in zip(reply.items, blobs, strict=True)
    ]
    return reply, answers


async def test_a_batch_is_answered_request_by_request(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient
) -> None:
    shelf.publish(classifier(), classes=["no", "yes"])
    reply, answers = await send(client, [[1, 2]], [{"a": 2, "b": 1}, {"a": 0}], [[1]], b"[[NaN,1]]")
    assert answers == [{"predictions": ["no"]}, {"predictions": ["yes", "no"]}, "bad_input", "malformed_body"]
    assert reply.version == 1
    assert [each.rows for each in reply.items] == [1, 2, 0, 0]
    assert reply.items[2].error is not None
    assert reply.items[2].error.errors[0].at == "instances[0]"
    assert reply.inference_us > 0
    assert 0 <= reply.queue_us < 5_000_000


async def test_every_type_of_column_and_probabilities_arrive(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient
) -> None:
    shelf.publish(mixed(), "mixed", schema=MIXED)
    shelf.publish(classifier(), classes=[0, 1])
    _, answers = await send(client, [[1, "Paris", True, "2020-01-03"]], [{}], model="mixed")
    assert answers == [{"predictions": [104.0]}, {"predictions": [21.0]}]
    _, answers = await send(client, [[1, 1]], probabilities=True)
    assert answers == [{"predictions": [0], "probabilities": [[0.5, 0.5]]}]
    _, answers = await send(client, [[1, "Paris", True, None]], model="mixed", probabilities=True)
    assert answers == ["bad_input"]


async def test_versions_and_aliases_are_obeyed_from_the_next_batch_on(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient
) -> None:
    for slope in range(1, 6):
        version = shelf.publish(regression(slope))
        reply, answers = await send(client, [[1, 2]])
        assert (reply.version, answers) == (version, [{"predictions": [3.0 * slope]}])
    aliases.move_alias(shelf.volume, "m", "canary", 2)
    assert (await send(client, [[1, 2]], alias="canary"))[0].version == 2
    assert (await send(client, [[1, 2]], version=4))[0].version == 4
    deletion.delete_version(shelf.volume, "m", 4)
    with pytest.raises(errors.VersionNotFound):
        await send(client, [[1, 2]], version=4)


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ({"model": "unknown"}, errors.ModelNotFound),
        ({"model": "unknown", "version": 1}, errors.ModelNotFound),
        ({"version": 9}, errors.VersionNotFound),
        ({"alias": "canary"}, errors.AliasNotFound),
        ({"version": 2}, errors.ModelCorrupt),
    ],
)
async def test_what_cannot_be_served_is_an_error_of_the_batch(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient, reference: Any, kind: type[errors.WarrenError]
) -> None:
    shelf.publish(regression())
    shelf.spoil(shelf.publish(regression(), champion=False))
    with pytest.raises(kind):
        await send(client, [[1, 2]], **reference)


async def test_the_last_good_version_serves_on_and_an_alarm_says_so(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient
) -> None:
    shelf.publish(regression())
    assert (await send(client, [[1, 2]]))[0].version == 1
    shelf.spoil(shelf.publish(regression()))
    assert (await send(client, [[1, 2]]))[0].version == 1
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{service.metrics_port}/metrics")
    alarms = [line for line in answer.text.splitlines() if line.startswith("warren_corrupt_versions ")]
    assert float(alarms[0].split()[1]) >= 1


async def test_requests_that_expired_are_not_computed(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient
) -> None:
    shelf.publish(regression())
    rows = b"[[1,2]]"
    header = frames.BatchHeader("m", (item(rows), item(rows, remaining_ms=0)))
    delivery = await client.call_raw(
        topology.PREDICT, frames.encode(header, [rows, rows]), frames.BATCH_TYPE, deadline=Deadline.after(15)
    )
    reply, _ = frames.decode_reply(delivery.body)
    assert [each.error and each.error.code for each in reply.items] == [None, "deadline_exceeded"]


async def test_an_empty_batch_has_an_empty_reply(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient
) -> None:
    shelf.publish(regression())
    assert (await send(client))[1] == []


async def test_a_message_that_is_no_batch_goes_to_the_dead_letters(
    rabbitmq: Rabbit, broker: settings.Broker, service: PredictorService, client: AsyncRpcClient
) -> None:
    for body, kind in ((b"xx", frames.BATCH_TYPE), (b"{}", "something.else")):
        delivery = await client.call_raw(topology.PREDICT, body, kind, deadline=Deadline.after(15))
        assert messages.Failure.decode(delivery.body).error.code == errors.MalformedBody.code
    with rabbitmq.channel(broker.vhost) as channel:
        wait_until(
            lambda: channel.queue_declare(topology.DEAD, passive=True).method.message_count == 2, "both dead letters"
        )
        bodies = {channel.basic_get(topology.DEAD, auto_ack=True)[2] for _ in range(2)}
    assert bodies == {b"xx", b"{}"}


async def test_answers_too_large_for_one_message_are_asked_for_one_by_one(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_REPLY_BYTES", 1000)
    shelf.publish(regression())
    rows = [[0.5, 0.25]] * 150
    with pytest.raises(errors.RetryAlone):
        await send(client, rows, rows)
    assert "predictions" in (await send(client, rows))[1][0]
    assert (await send(client, rows * 10))[1] == ["too_large"]


async def test_a_large_batch_is_answered_whole(shelf: Shelf, service: PredictorService, client: AsyncRpcClient) -> None:
    shelf.publish(classifier(), classes=["no", "yes"])
    rows = [[at % 7, at % 5] for at in range(10_000)]
    _, (answer,) = await send(client, rows, probabilities=True)
    assert answer["predictions"] == ["yes" if left > right else "no" for left, right in rows]
    assert len(answer["probabilities"]) == 10_000


def held(rabbit: Rabbit, broker: settings.Broker) -> int:
    """Batches that predictors hold and have not acknowledged; the queue itself says so, where statistics are late."""
    told = rabbit.node.ctl("list_queues", "-p", broker.vhost, "name", "messages_unacknowledged")
    counts = dict(line.split("\t") for line in told.splitlines())
    return int(counts[topology.PREDICT])


async def test_work_of_a_killed_predictor_is_sent_back_not_computed(
    shelf: Shelf,
    rabbitmq: Rabbit,
    broker: settings.Broker,
    start_process: Callable[[], PredictorProcess],
    start_service: Callable[[], PredictorService],
    client: AsyncRpcClient,
) -> None:
    shelf.publish(regression())
    doomed = start_process()
    await asyncio.to_thread(doomed.wait_ready)
    assert (await send(client, [[1, 2]]))[1] == [{"predictions": [3.0]}]
    await eventually(
        lambda: held(rabbitmq, broker) == 0, "the answered batch is acknowledged, which follows its answer"
    )
    doomed.send(signal.SIGSTOP)
    asked = [asyncio.create_task(send(client, *[[[1, 2]]] * count)) for count in (3, 1)]
    await eventually(lambda: held(rabbitmq, broker) == 2, "the frozen predictor holds both batches")
    await asyncio.to_thread(start_service)
    doomed.send(signal.SIGKILL)
    for each in asked:
        with pytest.raises(errors.RetryAlone):
            await each
    assert (await send(client, [[1, 2]]))[1] == [{"predictions": [3.0]}]


async def persist(client: AsyncRpcClient, *requests: Any) -> Answered:
    """As a replica does: what was on its way to a process that stopped taking is sent once more."""
    try:
        return await send(client, *requests)
    except errors.RetryAlone:
        return await send(client, *requests)


async def test_a_predictor_that_is_told_to_stop_answers_what_it_has(
    shelf: Shelf, start_process: Callable[[], PredictorProcess], client: AsyncRpcClient
) -> None:
    shelf.publish(regression())
    one, other = start_process(), start_process()
    await asyncio.to_thread(one.wait_ready)
    await asyncio.to_thread(other.wait_ready)
    failed: list[BaseException] = []

    async def keep_asking(times: int) -> None:
        for at in range(times):
            try:
                assert (await persist(client, [[at, 0]]))[1] == [{"predictions": [float(at)]}]
            except Exception as error:
                failed.append(error)

    asking = [asyncio.create_task(keep_asking(150)) for _ in range(4)]
    one.send(signal.SIGTERM)
    assert await asyncio.to_thread(one.process.wait, 20) == 0
    await asyncio.gather(*asking)
    assert not failed


async def test_a_predictor_without_its_key_says_so_and_ends(
    shelf: Shelf, start_process: Callable[[], PredictorProcess]
) -> None:
    shelf.verify_key_file.unlink()
    assert await asyncio.to_thread(start_process().process.wait, 60) == 1


async def test_a_version_is_loaded_before_it_is_named(
    shelf: Shelf, service: PredictorService, broker: settings.Broker
) -> None:
    shelf.publish(regression())
    shelf.spoil(shelf.publish(regression(), champion=False))
    trainer = RpcClient(broker, "trainer", "trainer")
    trainer.start()
    try:
        assert await asyncio.to_thread(trainer.wait_connected, 15)

        def announce(version: int) -> messages.VersionLoaded:
            with trainer.gather(topology.ANNOUNCE, messages.LoadVersion(model="m", version=version)) as stream:
                return replies.read(stream.next(15), messages.VersionLoaded)

        loaded = await asyncio.to_thread(announce, 1)
        assert (loaded.predictor_id, loaded.version, loaded.error) == (service.predictor_id, 1, None)
        assert service.registry.loaded() == [("m", 1)]
        failed = await asyncio.to_thread(announce, 2)
        assert failed.error is not None
        assert failed.error.code == errors.ModelCorrupt.code
        trainer.broadcast(topology.ANNOUNCE, messages.PredictorGone(predictor_id="of no concern"))
        trainer.broadcast(topology.ANNOUNCE, messages.ForgetVersion(model="m"))
        await eventually(lambda: not service.registry.loaded(), "the version is forgotten")
    finally:
        trainer.close()
