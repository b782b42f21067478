"""Many requests, few messages: what travels together, and what is told apart again."""

from __future__ import annotations

import asyncio
import gc
import json
import random
from collections.abc import Iterator

import pytest

from api.predict.batches import Batch, Copy
from tests.integration.predict.conftest import OpenReplica, Replica, until
from tests.integration.predict.scripted import VERSION, ScriptedPredictor
from tests.rabbit import wait_until
from wire import settings

pytestmark = pytest.mark.usefixtures("unhurried")


async def seen(predictor: ScriptedPredictor) -> None:
    """Wait until a predictor has a batch in its hands."""
    assert await asyncio.to_thread(predictor.seen.wait, 15)
    predictor.seen.clear()


async def held(replica: Replica, count: int) -> None:
    """Wait until a replica holds so many requests."""

    async def reached() -> bool:
        return replica.held == count

    await until(reached, f"{count} requests held")


async def test_a_lone_request_is_answered_with_all_that_was_promised(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica() as replica:
        answer = await replica.client.post(
            "/predict",
            json={"model": "m", "version": "beta", "instances": [[1, 2], [3, 4]], "probabilities": True},
            headers={"X-Request-ID": "caller-1"},
        )
    assert answer.status_code == 200
    assert answer.json() == {
        "model": "m",
        "version": VERSION,
        "predictions": [3, 7],
        "probabilities": [[0.25, 0.75], [0.25, 0.75]],
        "request_id": "caller-1",
    }
    assert answer.headers["x-request-id"] == "caller-1"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert float(timing["inference"]) == 1.5
    assert 0.5 <= float(timing["queue"]) <= float(timing["total"])


async def test_what_arrives_while_a_batch_is_under_way_leaves_together(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica() as replica:
        predictor.gate.clear()
        first = asyncio.create_task(replica.predict([[0]]))
        await seen(predictor)
        rest = [asyncio.create_task(replica.predict([[number]])) for number in range(1, 31)]
        await held(replica, 31)
        predictor.gate.set()
        answers = await asyncio.gather(first, *rest)
    assert [answer.json()["predictions"] for answer in answers] == [[number] for number in range(31)]
    assert [len(rows) for _, rows in predictor.batches] == [1, 30]


async def test_a_batch_keeps_to_its_bounds(open_replica: OpenReplica, predictor: ScriptedPredictor) -> None:
    async with open_replica(batch_requests=8) as replica:
        answers = await asyncio.gather(*(replica.predict([[number]]) for number in range(50)))
    assert all(answer.status_code == 200 for answer in answers)
    assert max(len(rows) for _, rows in predictor.batches) == 8


async def test_a_bad_row_spoils_its_own_request_and_no_other(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica() as replica:
        good, bad, other = await asyncio.gather(
            replica.predict([[1]]), replica.predict([["bad"]]), replica.predict([[2]])
        )
    assert (good.json()["predictions"], other.json()["predictions"]) == ([1], [2])
    assert bad.status_code == 422
    assert bad.json()["errors"] == [{"at": "instances[0][0]", "problem": "must be a number"}]
    assert [len(rows) for _, rows in predictor.batches] == [3]


async def test_an_unknown_model_is_404_and_disturbs_no_other(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica() as replica:
        answers = await asyncio.gather(
            replica.predict([[1]], "missing"), replica.predict([[2]], "missing"), replica.predict([[3]])
        )
    assert [answer.status_code for answer in answers] == [404, 404, 200]
    assert answers[0].json()["code"] == "model_not_found"


async def test_a_slow_model_does_not_hold_up_another(open_replica: OpenReplica, broker: settings.Broker) -> None:
    predictor = ScriptedPredictor(broker, threads=2)
    predictor.gate.clear()
    predictor.held_model = "slow"
    predictor.start()
    try:
        async with open_replica() as replica:
            slow = [asyncio.create_task(replica.predict([[number]], "slow")) for number in range(20)]
            await seen(predictor)
            fast = [(await replica.predict([[number]], "fast")).json()["predictions"] for number in range(20)]
            assert not any(task.done() for task in slow)
            predictor.gate.set()
            assert all(answer.status_code == 200 for answer in await asyncio.gather(*slow))
    finally:
        predictor.stop()
    assert fast == [[number] for number in range(20)]


async def test_single_rows_do_not_wait_behind_a_large_request(
    open_replica: OpenReplica, broker: settings.Broker
) -> None:
    predictor = ScriptedPredictor(broker, threads=2).start()
    rows = [[number] * 30 for number in range(5000)]
    try:
        async with open_replica() as replica:
            large, small = await asyncio.gather(replica.predict(rows), replica.predict([[5]]))
    finally:
        predictor.stop()
    assert large.json()["predictions"] == [number * 30 for number in range(5000)]
    assert small.json()["predictions"] == [5]
    assert len(predictor.batches) == 2


async def test_ten_thousand_mixed_requests_get_their_own_answers(
    open_replica: OpenReplica, broker: settings.Broker
) -> None:
    """Value, model and request id of every answer are its own: no reply is crossed."""
    predictors = [ScriptedPredictor(broker, threads=2).start() for _ in range(2)]
    draw = random.Random(20261122)
    wanted = iter(range(10_000))
    wrong: list[str] = []

    async def client(replica: Replica) -> None:
        for number in wanted:
            model = draw.choice(["a", "b", "c", "missing"])
            rows: list[list[object]] = [[number, draw.randrange(1000)] for _ in range(draw.randrange(1, 5))]
            bad = draw.random() < 0.05
            body = {"model": model, "instances": [["bad"]] if bad else rows}
            told = await replica.raw_predict(json.dumps(body).encode(), f"r-{number}")
            if model == "missing":
                right = told["code"] == "model_not_found"
            elif bad:
                right = told["code"] == "bad_input"
            else:
                right = told["model"] == model and told["predictions"] == [a + b for a, b in rows]  # type: ignore[operator]
            if not right or told["request_id"] != f"r-{number}":
                wrong.append(json.dumps(told))

    try:
        async with open_replica(deadline_ms=30_000) as replica:
            await asyncio.gather(*(client(replica) for _ in range(128)))
            assert replica.held == 0
    finally:
        for one in predictors:
            one.stop()
    assert wrong == []
    computed = sum(len(rows) for one in predictors for _, rows in one.batches)
    assert 10_000 <= computed <= 11_000, "at most a tenth is computed twice"


async def test_beyond_the_bound_on_waiting_requests_the_answer_is_429(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica(waiting_requests=50) as replica:
        predictor.gate.clear()
        tasks = [asyncio.create_task(replica.predict([[number]])) for number in range(60)]
        await held(replica, 40)
        other = asyncio.create_task(replica.predict([[1]], "another"))
        await held(replica, 41)
        predictor.gate.set()
        answers = await asyncio.gather(*tasks)
        assert (await other).status_code == 200
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (40, 20)
    refused = answers[statuses.index(429)]
    assert refused.json()["code"] == "overloaded"
    assert 1 <= int(refused.headers["retry-after"]) <= 3


async def test_who_would_be_too_late_is_refused_at_once_and_who_has_time_waits(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica(deadline_ms=30_000) as replica:
        predictor.gate.clear()
        under_way = asyncio.create_task(replica.predict([[1]]))
        await seen(predictor)
        waiting = asyncio.create_task(replica.predict([[2]]))
        await held(replica, 2)

        async def refused() -> bool:
            answer = await replica.predict([[3]], timeout_ms=100)
            assert answer.status_code in (429, 504)
            return answer.status_code == 429

        await until(refused, "somebody waits for too much of 100 ms")
        patient = asyncio.create_task(replica.predict([[4]]))
        other = asyncio.create_task(replica.predict([[5]], "another", timeout_ms=5_000))
        await held(replica, 4)
        predictor.gate.set()
        answers = await asyncio.gather(under_way, waiting, patient, other)
    assert [answer.status_code for answer in answers] == [200] * 4


async def test_after_everything_is_answered_nothing_is_left(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica() as replica:
        await asyncio.gather(*(replica.predict([[1]], f"m{number}") for number in range(20)))
        coalescer = replica.app.state.gateway.coalescer
        wait_until(lambda: coalescer.held == 0, "nothing held")
        assert coalescer._policy.lanes == 0


async def test_a_replica_that_says_it_is_ready_predicts_at_once(
    open_replica: OpenReplica, broker: settings.Broker
) -> None:
    """Readiness and the prediction path look at the queue each for itself; the slower one counts."""
    async with open_replica(consumers_poll_s=1.5) as replica:

        async def refused() -> bool:
            return (await replica.predict([[1]])).status_code == 503

        async def ready() -> bool:
            return "predictors" not in (await replica.client.get("/readyz")).json()["reasons"]

        await until(refused, "it has seen that nobody predicts")
        predictor = ScriptedPredictor(broker).start()
        try:
            await until(ready, "it has predictors")
            answer = await replica.predict([[2]])
        finally:
            predictor.stop()
    assert (answer.status_code, answer.json().get("predictions")) == (200, [2])


@pytest.fixture
def no_collection() -> Iterator[None]:
    """No garbage is collected meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
async def test_a_batch_is_gone_with_its_answers_and_not_with_the_garbage(
    open_replica: OpenReplica, predictor: ScriptedPredictor
) -> None:
    async with open_replica() as replica:
        for _ in range(5):
            await replica.raw_predict(b'{"model": "m", "instances": [[1, 2]]}', "")
        assert not [one for one in gc.get_objects() if isinstance(one, Batch | Copy)]
