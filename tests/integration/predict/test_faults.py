"""What a caller sees when processes die, freeze or are not there: each docstring says what happens."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api import metrics
from api.predict import alone, patience
from api.predict.coalescer import MOST_COPIES
from tests.integration.predict.conftest import OpenReplica, PredictorProcess, Replica, until
from tests.integration.predict.scripted import ScriptedPredictor
from tests.integration.predict.test_batching import held, seen
from tests.rabbit import Rabbit, eventually
from wire import settings, tallies, topology

StartProcess = Callable[..., PredictorProcess]


def counted(counter: tallies.Counter) -> float:
    return sum(sample.value for metric in counter.collect() for sample in metric.samples if "_total" in sample.name)


async def consumers(replica: Replica, count: int) -> None:
    """Wait until the broker shows so many predictors, and the replica's own last look agrees that there are any."""

    async def reached() -> bool:
        gateway = replica.app.state.gateway
        state = await gateway.rpc.queue_state(topology.PREDICT)
        return bool(state.consumers == count) and bool(gateway.coalescer.nobody) == (count == 0)

    await until(reached, f"{count} predictors")


async def refused_with(replica: Replica, code: str) -> httpx.Response:
    """Wait until a prediction is refused with this code, and give the answer."""
    answers: list[httpx.Response] = []

    async def refused() -> bool:
        answers.append(await replica.predict([[1]]))
        return bool(answers[-1].json().get("code") == code)

    await until(refused, f"refused with {code}")
    return answers[-1]


async def answering_again(replica: Replica) -> None:
    """Wait until predictions are answered."""

    async def answered() -> bool:
        return (await replica.predict([[4]])).status_code == 200

    await until(answered, "predictions are answered again")


async def timed(task: Any) -> tuple[httpx.Response, float]:
    started_at = time.monotonic()
    answer = await task
    return answer, time.monotonic() - started_at


async def first_refusal(replica: Replica) -> tuple[httpx.Response, float]:
    """Ask until a prediction is refused; that answer alone, and how long it alone took."""
    asked: list[tuple[httpx.Response, float]] = []

    async def refused() -> bool:
        asked.append(await timed(replica.predict([[1]])))
        return asked[-1][0].status_code != 200

    await until(refused, "a prediction is refused")
    return asked[-1]


async def test_without_a_predictor_the_answer_is_503_long_before_its_deadline(open_replica: OpenReplica) -> None:
    """Nobody consumes the queue; the broker would keep the message until its expiration."""
    async with open_replica() as replica:
        first, first_s = await timed(replica.predict([[1]], timeout_ms=20_000))
        later, later_s = await timed(replica.predict([[1]], timeout_ms=20_000))
    assert (first.status_code, later.status_code) == (503, 503)
    assert first.json()["code"] == later.json()["code"] == "unroutable"
    assert int(first.headers["retry-after"]) >= 1
    assert max(first_s, later_s) < 10


@pytest.mark.usefixtures("unhurried")
async def test_waiting_requests_are_answered_when_the_last_predictor_dies(
    open_replica: OpenReplica, start_process: StartProcess
) -> None:
    """The only predictor is killed with a batch in its hands; nobody is left to take it over."""
    async with open_replica() as replica:
        one = start_process("holding")
        await consumers(replica, 1)
        busy = [asyncio.create_task(replica.predict([[1]], timeout_ms=30_000)) for _ in range(4)]
        await held(replica, 4)
        one.process.kill()
        answers = await asyncio.wait_for(asyncio.gather(*busy), 25)
    assert {answer.status_code for answer in answers} == {503}


@pytest.mark.usefixtures("unhurried")
async def test_killed_predictors_work_goes_to_another(
    open_replica: OpenReplica, start_process: StartProcess, broker: settings.Broker
) -> None:
    """A predictor dies with a batch; the broker gives it to another, which asks for it one by one."""
    retried = counted(metrics.retried_alone)
    async with open_replica(deadline_ms=20_000) as replica:
        doomed = start_process("holding")
        await consumers(replica, 1)
        tasks = [asyncio.create_task(replica.predict([[number]])) for number in range(20)]
        await held(replica, 20)
        survivor = ScriptedPredictor(broker).start()
        await consumers(replica, 2)
        doomed.process.kill()
        answers = await asyncio.gather(*tasks)
        survivor.stop()
    assert [answer.json().get("predictions") for answer in answers] == [[number] for number in range(20)]
    assert counted(metrics.retried_alone) - retried == 20


@pytest.mark.usefixtures("unhurried")
async def test_a_poisonous_row_ends_two_predictors_and_takes_no_neighbour_along(
    open_replica: OpenReplica, start_process: StartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch kills one predictor; sent alone the bad row kills a second; the third says so."""
    monkeypatch.setattr(alone, "PATIENCE_S", 20.0)
    crashed = counted(metrics.crashed)
    async with open_replica(deadline_ms=25_000) as replica:
        processes = [start_process() for _ in range(3)]
        await consumers(replica, 3)
        answers = await asyncio.gather(
            replica.predict([[1]]), replica.predict([["crash"]]), replica.predict([[2]]), replica.predict([[3]])
        )
        alive = sum(one.process.poll() is None for one in processes)
    assert [answer.status_code for answer in answers] == [200, 500, 200, 200]
    assert answers[1].json()["code"] == "inference_crashed"
    assert alive == 1
    assert counted(metrics.crashed) == crashed + 1


async def test_a_frozen_predictor_is_hidden_by_a_second_copy(
    open_replica: OpenReplica, start_process: StartProcess
) -> None:
    """A stopped process keeps its connection and what it was given; a copy goes to another one."""
    hedges = counted(metrics.hedges)
    async with open_replica(deadline_ms=30_000) as replica:
        frozen, healthy = start_process(), start_process()
        await consumers(replica, 2)
        os.kill(frozen.process.pid, signal.SIGSTOP)
        answers = [await replica.predict([[number]]) for number in range(12)]
        assert healthy.process.poll() is None
    assert [answer.json().get("predictions") for answer in answers] == [[number] for number in range(12)]
    # A slow answer of the healthy one is hedged as well: the bound is the budget, 5 saved and a tenth of 12 batches.
    assert 1 <= counted(metrics.hedges) - hedges <= 6


async def test_a_copy_that_meets_the_same_frozen_predictor_is_followed_by_another(
    open_replica: OpenReplica, start_process: StartProcess
) -> None:
    """It holds both of the places it has; the third copy is for whoever comes."""
    hedges = counted(metrics.hedges)
    async with open_replica(deadline_ms=20_000) as replica:
        frozen = start_process()
        await consumers(replica, 1)
        os.kill(frozen.process.pid, signal.SIGSTOP)
        asking = asyncio.create_task(replica.predict([[5]]))
        await eventually(lambda: counted(metrics.hedges) - hedges >= 2, "two copies were sent after the first")
        await asyncio.to_thread(start_process)
        assert (await asking).json()["predictions"] == [5]
    assert counted(metrics.hedges) - hedges <= MOST_COPIES - 1


async def test_a_copy_that_the_budget_refuses_is_sent_when_it_allows_one(
    open_replica: OpenReplica, start_process: StartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = counted(metrics.hedges_refused)
    allows = itertools.chain((False, False), itertools.repeat(True))
    monkeypatch.setattr(patience.Budget, "spend", lambda _: next(allows))
    async with open_replica(deadline_ms=10_000) as replica:
        frozen, _healthy = start_process(), start_process()
        await consumers(replica, 2)
        os.kill(frozen.process.pid, signal.SIGSTOP)
        answers = [await replica.predict([[number]]) for number in range(12)]
    assert [answer.json().get("predictions") for answer in answers] == [[number] for number in range(12)]
    assert counted(metrics.hedges_refused) - refused == 2


async def test_each_request_has_its_own_deadline_within_a_batch(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    """The batch is still under way when one of its requests runs out of time."""
    async with open_replica() as replica:
        predictor.gate.clear()
        patient = asyncio.create_task(replica.predict([[1]], timeout_ms=20_000))
        hasty, hasty_s = await timed(replica.predict([[2]], timeout_ms=300))
        assert not patient.done()
        predictor.gate.set()
        assert (await patient).json()["predictions"] == [1]
    assert (hasty.status_code, hasty.json()["code"]) == (504, "deadline_exceeded")
    assert 0.3 <= hasty_s < 10


@pytest.mark.usefixtures("unhurried")
async def test_expired_requests_never_reach_a_predictor(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    """They wait behind a batch, and their time is over before it ends."""
    async with open_replica() as replica:
        predictor.gate.clear()
        first = asyncio.create_task(replica.predict([[1]], timeout_ms=20_000))
        await seen(predictor)
        late = await asyncio.gather(*(replica.predict([[2]], timeout_ms=100) for _ in range(5)))
        predictor.gate.set()
        assert (await first).status_code == 200
        assert (await replica.predict([[3]])).json()["predictions"] == [3]
    assert {answer.status_code for answer in late} == {504}
    assert [[2]] not in [row for _, rows in predictor.batches for row in rows]


async def raw_request(replica: Replica, body: bytes, leave: asyncio.Event) -> list[Any]:
    """A prediction by bare ASGI whose client leaves when told to; what was sent to it."""
    sent: list[Any] = []
    parts = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        for part in parts:
            return part
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
    await replica.app(scope, receive, send)
    return sent


@pytest.mark.usefixtures("unhurried")
async def test_a_client_that_leaves_gives_its_place_free(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    """It waits behind a batch when its connection closes: its rows are never sent."""
    async with open_replica() as replica:
        predictor.gate.clear()
        leave = asyncio.Event()
        first = asyncio.create_task(replica.predict([[1]], timeout_ms=20_000))
        await seen(predictor)
        gone = asyncio.create_task(raw_request(replica, b'{"model":"m","instances":[[1234]]}', leave))
        await held(replica, 2)
        leave.set()
        assert await asyncio.wait_for(gone, 5) == []
        assert replica.held == 1
        predictor.gate.set()
        assert (await first).status_code == 200
        assert (await replica.predict([[3]])).status_code == 200
    assert [[1234]] not in [row for _, rows in predictor.batches for row in rows]


async def test_a_restarted_broker_costs_503s_and_nothing_else(
    open_replica: OpenReplica, predictor: ScriptedPredictor, rabbitmq: Rabbit
) -> None:
    """Connections are lost; what was under way fails at once, and later requests are answered again."""
    async with open_replica(deadline_ms=30_000) as replica:
        assert (await replica.predict([[1]])).status_code == 200
        predictor.gate.clear()
        caught = asyncio.create_task(replica.predict([[2]]))
        await seen(predictor)
        with rabbitmq.stopped():
            during = await refused_with(replica, "broker_unavailable")
            answered, answered_s = await timed(replica.predict([[3]]))
            assert (await asyncio.wait_for(caught, 20)).status_code == 503
            predictor.gate.set()
        await answering_again(replica)
    assert during.status_code == answered.status_code == 503
    assert answered_s < 10


async def test_a_broker_alarm_is_answered_with_503_within_a_second(
    open_replica: OpenReplica, predictor: ScriptedPredictor, rabbitmq: Rabbit
) -> None:
    """Of three the first to be answered counts: a busy machine may hold up one request, the broker would each time."""
    refused_s = []
    async with open_replica(deadline_ms=10_000) as replica:
        await answering_again(replica)
        for _ in range(3):
            with rabbitmq.alarm():
                answer, answer_s = await first_refusal(replica)
            assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
            refused_s.append(answer_s)
            await answering_again(replica)
    assert min(refused_s) < 1.0, refused_s
