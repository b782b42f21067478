"""What a caller sees when a predictor answers strangely, and what a replica says of itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api import metrics
from api.app import create_app
from api.lifespan import running
from api.presence import MAX_AGE_S
from tests.integration.predict.conftest import OpenReplica, PredictorProcess, until
from tests.integration.predict.scripted import ScriptedPredictor
from tests.integration.predict.test_batching import held
from tests.integration.predict.test_faults import consumers, counted
from tests.rabbit import Rabbit
from wire import errors, frames, messages, settings, topology
from wire.server import Request, RpcServer

ODD: dict[str, tuple[str, bytes]] = {
    "miscounted": (frames.REPLY_TYPE, frames.encode(frames.ReplyHeader((), 1), [])),
    "alien": ("models.listed", b"{}"),
    "torn": (frames.REPLY_TYPE, b"\x00"),
    "refused": (messages.Failure.TYPE, messages.Failure(error=errors.ModelCorrupt().to_body()).encode()),
    "garbled": (messages.Failure.TYPE, b"?"),
    "expired": (frames.REPLY_TYPE, frames.encode(frames.ReplyHeader(error=errors.DeadlineExceeded().to_body()), [])),
    "again": (frames.REPLY_TYPE, frames.encode(frames.ReplyHeader(error=errors.RetryAlone().to_body()), [])),
}


@pytest.fixture
def odd_predictor(broker: settings.Broker) -> Iterator[None]:
    """Answers with what its model is named after."""

    def handle(request: Request) -> None:
        header, _ = frames.decode_batch(request.body)
        kind, body = ODD[header.model]
        request.reply_raw(body, kind)

    server = RpcServer(broker, "predictor", "odd")
    server.serve(topology.PREDICT, handle, prefetch=2)
    server.start()
    assert server.wait_ready(15)
    yield
    server.stop(5)


@pytest.mark.usefixtures("odd_predictor")
@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("miscounted", 500, "internal_error"),
        ("alien", 500, "internal_error"),
        ("torn", 500, "internal_error"),
        ("garbled", 500, "internal_error"),
        ("refused", 409, "model_corrupt"),
        ("expired", 504, "deadline_exceeded"),
        ("again", 500, "inference_crashed"),
    ],
)
async def test_a_strange_reply_is_a_plain_error(open_replica: OpenReplica, model: str, status: int, code: str) -> None:
    async with open_replica() as replica:
        answer = await replica.predict([[1]], model)
        assert replica.held == 0
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "reply" not in answer.text


async def test_a_large_body_is_read_and_answered(open_replica: OpenReplica, predictor: ScriptedPredictor) -> None:
    rows = [[number, 0.123456789, 0.5] for number in range(9_999)]
    async with open_replica() as replica:
        answer = await replica.predict(rows, timeout_ms=20_000)
    assert answer.json()["predictions"] == [sum(row) for row in rows]


async def test_bytes_being_read_are_bounded_like_those_that_wait(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica(waiting_bytes=100) as replica:
        answer = await replica.predict([[1] * 100])
    assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")


async def test_without_a_budget_a_late_batch_is_not_sent_again_but_lets_others_go(
    open_replica: OpenReplica, start_process: Callable[..., PredictorProcess], broker: settings.Broker
) -> None:
    """The lane's only place is taken by a batch that nobody answers."""
    refused = counted(metrics.hedges_refused)
    async with open_replica(hedge_share=0) as replica:
        replica.app.state.gateway.coalescer._budget._credit = 0.0
        holding = start_process("holding")
        await consumers(replica, 1)
        stuck = asyncio.create_task(replica.predict([[1]], timeout_ms=20_000))
        await held(replica, 1)
        predictor = ScriptedPredictor(broker).start()
        await consumers(replica, 2)
        answers = [await replica.predict([[number]], timeout_ms=3000) for number in range(4)]
        assert any(answer.status_code == 200 for answer in answers)
        assert not stuck.done()
        holding.end()
        assert (await stuck).json()["predictions"] == [1]
        predictor.stop()
    assert counted(metrics.hedges_refused) > refused


async def test_a_replica_that_stops_answers_what_it_still_holds(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica() as replica:
        predictor.gate.clear()
        waiting = asyncio.create_task(replica.predict([[1]], timeout_ms=20_000))
        await held(replica, 1)
    answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (503, "unroutable")


async def test_readiness_is_remembered_for_half_a_second_and_says_when_it_stops(
    open_replica: OpenReplica, predictor: ScriptedPredictor, rabbitmq: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_replica() as replica:

        async def only_others_are_missing() -> bool:
            reasons = (await replica.client.get("/readyz")).json().get("reasons", {})
            return set(reasons) == {"workers", "trainers"}

        await until(only_others_are_missing, "the ledger and a predictor are there")
        readiness = replica.app.state.readiness
        looks, ask = 0, readiness._ask

        async def noted() -> dict[str, str]:
            nonlocal looks
            looks += 1
            reasons: dict[str, str] = await ask()
            return reasons

        monkeypatch.setattr(readiness, "_ask", noted)
        began = time.monotonic()
        await asyncio.gather(*(replica.client.get("/readyz") for _ in range(20)))
        assert looks <= 1 + (time.monotonic() - began) / MAX_AGE_S
        with rabbitmq.alarm():

            async def alarm_is_seen() -> bool:
                await replica.predict([[1]])
                return "broker" in (await replica.client.get("/readyz")).json().get("reasons", {})

            await until(alarm_is_seen, "the alarm is named")
        replica.app.state.gateway.stopping.set()
        answer = await replica.client.get("/readyz")
        assert (answer.status_code, answer.json()["reasons"]) == (503, {"replica": "is stopping"})


async def test_without_broker_and_ledger_a_replica_lives_and_says_so(tmp_path: Path) -> None:
    """It starts before everything else, and is not ready."""
    (tmp_path / "ledger.sqlite3").mkdir()
    config = settings.Settings(
        broker=settings.Broker(port=1),
        ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3", timeout_s=0.2),
    )
    app = create_app(config)
    async with running(app, config):
        reasons = await app.state.readiness.reasons()
        with pytest.raises(errors.BrokerUnavailable):
            await app.state.gateway.consumers.require(topology.CHANGES)
    assert reasons == {"broker": "is not connected", "ledger": "is not prepared yet"}
