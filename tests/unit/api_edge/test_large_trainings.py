"""Large bodies that are no predictions: within a bound of their own, and apart from everybody else's threads."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from api import bodies, training
from api.readiness import Readiness
from tests.unit.api_edge.test_large_bodies import Replica, until
from wire import settings

LIMIT_BYTES = 1_000_000
JSON_TYPE = {"content-type": "application/json"}
WRONG = json.dumps({"remark": "x" * 399_000}).encode()
RIGHT = json.dumps(
    {"model": "m", "dataset": {"rows": [{"a": 1, "b": "x" * 900_000}]}, "target": "a", "estimator": "Ridge"}
).encode()


class Decoding:
    """Large bodies whose decoding goes on when it is told to; ``begun`` counts them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.going_on = threading.Event()
        self._decode = bodies.decode
        patch.setattr(bodies, "decode", self._held)

    def _held(self, raw: bytes, *given: Any) -> Any:
        if len(raw) > 100_000:
            self.begun += 1
            assert self.going_on.wait(30)
        return self._decode(raw, *given)


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoding]:
    decoding = Decoding(monkeypatch)
    yield decoding
    decoding.going_on.set()


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    """With a ledger; its largest training is 1 MB."""
    async with Replica(tmp_path, limits=settings.Limits(train_body_bytes=LIMIT_BYTES)) as replica:
        state = replica.app.state.gateway
        state.ledger.migrate()
        state.migrated.set()
        replica.app.state.readiness = Readiness(state)
        yield replica
        await state.trail.close()


def train(replica: Replica, content: Any, **headers: str) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(replica.client.post("/train", content=content, headers={**JSON_TYPE, **headers}))


def held_bytes(replica: Replica) -> int:
    return replica.app.large_bodies.held_bytes


async def check_room(replica: Replica) -> None:
    """Nothing is held, and a large body is read."""
    assert held_bytes(replica) == 0
    assert (await train(replica, WRONG)).status_code == 422


async def unending(going_on: asyncio.Event) -> AsyncIterator[bytes]:
    """The first bytes of a body, and when it is told so its end, which is too early."""
    yield b'{"model":'
    await going_on.wait()


async def test_large_trainings_beyond_the_room_are_429_and_all_else_goes_on(
    replica: Replica, decoding: Decoding
) -> None:
    asked = [train(replica, WRONG) for _ in range(100)]
    await until(lambda: decoding.begun >= 2 and sum(one.done() for one in asked) >= 95)
    refused = [one.result() for one in asked if one.done()]
    assert {(one.status_code, one.json()["code"]) for one in refused} == {(429, "overloaded")}
    assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
    assert (len(refused), decoding.begun, held_bytes(replica)) == (95, 2, 5 * len(WRONG))
    readiness = (await replica.client.get("/readyz")).json()["reasons"]
    assert readiness.keys() == {"workers", "trainers"}
    assert (await replica.client.get("/jobs")).status_code == 200
    assert (await train(replica, b"{}")).status_code == 422
    assert (await replica.ask("/predict"))[0] == 404
    decoding.going_on.set()
    assert [one.status_code for one in await asyncio.gather(*asked)].count(422) == 5
    await check_room(replica)


async def test_what_was_decoded_has_its_room_until_its_rows_are_stored(replica: Replica) -> None:
    """All threads that the ledger's calls share are taken: two trainings are decoded, and wait for one."""
    threads = anyio.to_thread.current_default_thread_limiter()
    takers = [object() for _ in range(int(threads.available_tokens))]
    for taker in takers:
        threads.acquire_on_behalf_of_nowait(taker)
    asked = [train(replica, RIGHT) for _ in range(2)]
    await until(lambda: threads.statistics().tasks_waiting == 2)
    assert held_bytes(replica) == 2 * len(RIGHT)
    assert (await train(replica, RIGHT)).status_code == 429
    for taker in takers:
        threads.release_on_behalf_of(taker)
    assert [(await one).status_code for one in asked] == [202, 202]
    await check_room(replica)


async def test_a_body_without_a_length_counts_as_the_largest(replica: Replica) -> None:
    going_on = asyncio.Event()
    asked = [train(replica, unending(going_on)) for _ in range(2)]
    await until(lambda: held_bytes(replica) == 2 * LIMIT_BYTES)
    assert (await train(replica, WRONG)).status_code == 429
    going_on.set()
    assert [(await one).status_code for one in asked] == [400, 400]
    await check_room(replica)


async def test_a_length_is_the_same_with_zeros_before_it(replica: Replica) -> None:
    going_on = asyncio.Event()
    asked = train(replica, unending(going_on), **{"content-length": f"{500_000:030}"})
    await until(lambda: held_bytes(replica) == 500_000)
    going_on.set()
    assert (await asked).status_code == 400


async def test_a_body_that_does_not_arrive_gives_its_room_back(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "ARRIVAL_S", 0.1)
    answer = await train(replica, unending(asyncio.Event()))
    assert (answer.status_code, "too slowly" in answer.text) == (400, True)
    await check_room(replica)


async def test_a_body_whose_request_is_given_up_gives_its_room_back(replica: Replica, decoding: Decoding) -> None:
    """While it arrives, and while it is decoded."""
    asked = [train(replica, unending(asyncio.Event())), train(replica, WRONG)]
    await until(lambda: decoding.begun == 1 and held_bytes(replica) == LIMIT_BYTES + len(WRONG))
    for one in asked:
        one.cancel()
    await asyncio.wait(asked)
    decoding.going_on.set()
    await check_room(replica)


async def test_rows_are_hashed_once_and_where_nobody_waits_for_it(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    digest = training.digest

    def seen(body: training.TrainBody) -> str:
        found.append(threading.get_ident())
        return digest(body)

    monkeypatch.setattr(training, "digest", seen)
    await train(replica, RIGHT)
    assert len(found) == 1
    assert found[0] != threading.get_ident()
