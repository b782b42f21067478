"""Bodies that are read in threads: in time, within a bound, and apart from the ledger's calls."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from api.app import Gateway, create_app
from api.keys import making, minting
from api.keys.callers import LOCAL
from api.ledger import Ledger
from api.predict.coalescer import Coalescer
from api.predict.native import Native
from api.protocols.open_inference.infer import Infer
from api.state import State
from wire import errors, frames, settings, topology
from wire.memory import MemoryBroker
from wire.server import Request

INFER = "/v2/models/m/infer"
_WITHIN_S = 20.0
"""Longer than any answer takes here, and shorter than what some of them must not wait for."""


class Predictor:
    """Knows no model, and says so once ``answering`` is set."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.answering = threading.Event()
        self.answering.set()
        self.server = broker.server("predictor", "one")
        self.server.serve(topology.PREDICT, self._handle, prefetch=8)

    def _handle(self, request: Request) -> None:
        assert self.answering.wait(30)
        error = frames.ReplyHeader(error=errors.ModelNotFound().to_body())
        request.reply_raw(frames.encode(error, []), frames.REPLY_TYPE)


class Reading:
    """Bodies whose reading goes on when it is told to; ``begun`` counts them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.going_on = threading.Event()
        self._counting = threading.Lock()
        for form in (Native, Infer):
            patch.setattr(form, "read", self._held(form.read))

    async def until_begun(self, count: int) -> None:
        await until(lambda: self.begun >= count)

    def _held(self, read: Any) -> Any:
        def held(*given: Any) -> Any:
            with self._counting:
                self.begun += 1
            assert self.going_on.wait(30)
            return read(*given)

        return held


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reading]:
    reading = Reading(monkeypatch)
    yield reading
    reading.going_on.set()


class Replica:
    """A replica on a broker in memory, with one predictor; other keywords are settings of the prediction path."""

    def __init__(self, folder: Path, *, keys: Any = "off", limits: Any = None, **predict: Any) -> None:
        self._config = settings.Settings(
            api=settings.Api(keys=keys),
            ledger=settings.Ledger(url=f"sqlite:///{folder}/ledger.sqlite3"),
            limits=limits or settings.Limits(),
            paths=settings.Paths(datasets=folder / "datasets"),
            predict=settings.Predict(**({"deadline_ms": 30_000} | predict)),
        )
        self._broker = MemoryBroker()
        self.predictor = Predictor(self._broker)
        self.app: Gateway = create_app(self._config)

    async def __aenter__(self) -> Replica:
        self.predictor.server.start()
        assert self.predictor.server.wait_ready(5)
        self._rpc = self._broker.async_client("api", "api")
        await self._rpc.start()
        self._coalescer = Coalescer(self._rpc, self._config.predict)
        self.app.state.gateway = State(self._config, self._rpc, Ledger(self._config.ledger), self._coalescer)
        assert await self._rpc.wait_connected(5)
        await self._coalescer.start()
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.predictor.answering.set()
        await self.client.aclose()
        await self._coalescer.close()
        await self._rpc.close()
        await self.app.state.gateway.keyring.close()
        self.predictor.server.stop(5)
        self.app.state.gateway.ledger.close()

    async def ask(
        self, path: str, size_bytes: int = 300_000, *, timeout_ms: int | None = None, key: str = ""
    ) -> tuple[int, str]:
        """The status and the text of the answer to a body of about that size."""
        sent = {"content-type": "application/json"}
        if timeout_ms is not None:
            sent["x-request-timeout-ms"] = str(timeout_ms)
        if key:
            sent["authorization"] = f"Bearer {key}"
        async with asyncio.timeout(_WITHIN_S):
            answer = await self.client.post(path, content=body(path, size_bytes), headers=sent)
        return answer.status_code, answer.text

    async def lose_broker(self) -> None:
        self._broker.stop()
        await until(lambda: not self._rpc.connected)

    async def make_key(self) -> str:
        """A key that the replica knows."""
        ledger = self.app.state.gateway.ledger
        ledger.migrate()
        text = making.create(ledger, making.Wanted("ann", frozenset({"predict"}), 1, None), LOCAL)[1]
        await self.app.state.gateway.keyring.refresh()
        return text

    @property
    def counted_bytes(self) -> int:
        return self.app.predictions.receiving_bytes

    @property
    def taken(self) -> int:
        """Large bodies in threads, or in line for one."""
        return len(self.app.predictions.reading)

    @property
    def held(self) -> int:
        """Requests that wait for the predictor."""
        return self._coalescer.held

    async def until_read(self) -> None:
        async with asyncio.timeout(_WITHIN_S):
            await asyncio.gather(*self.app.predictions.reading)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


def body(path: str, size_bytes: int) -> bytes:
    row = [1] * (size_bytes // 3)
    if path == "/predict":
        return json.dumps({"model": "m", "instances": [row]}).encode()
    return json.dumps({"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "INT64", "data": row}]}).encode()


def take_ledger_threads() -> None:
    """All threads that the ledger's calls share are taken, and stay so."""
    threads = anyio.to_thread.current_default_thread_limiter()
    while threads.available_tokens:
        threads.acquire_on_behalf_of_nowait(object())


@pytest.fixture
async def no_ledger_threads() -> None:
    take_ledger_threads()


@pytest.mark.usefixtures("no_ledger_threads")
@pytest.mark.parametrize("path", [INFER, "/predict"])
async def test_a_large_body_waits_for_no_call_of_the_ledger(tmp_path: Path, path: str) -> None:
    """One is read before it is sent, the other before its error is told."""
    async with Replica(tmp_path) as replica:
        status, text = await replica.ask(path)
    assert (status, "model" in text) == (404, True)


async def test_no_call_of_the_ledger_waits_for_a_large_body(tmp_path: Path, reading: Reading) -> None:
    """Nor does anything else that has the threads of all."""
    async with Replica(tmp_path) as replica:
        asked = [asyncio.create_task(replica.ask(INFER)) for _ in range(50)]
        await until(lambda: replica.taken == 50)
        await reading.until_begun(2)
        async with asyncio.timeout(_WITHIN_S):
            assert await anyio.to_thread.run_sync(lambda: "done") == "done"
        assert reading.begun == 2
        reading.going_on.set()
        await asyncio.gather(*asked)
        assert replica.counted_bytes == 0


async def test_a_body_that_is_still_read_at_its_deadline_is_504(tmp_path: Path, reading: Reading) -> None:
    async with Replica(tmp_path) as replica:
        began_at = time.monotonic()
        status, text = await replica.ask(INFER, timeout_ms=300)
        assert time.monotonic() - began_at >= 0.3
        assert (status, "deadline" in text) == (504, True)
        reading.going_on.set()
        await replica.until_read()
        assert replica.held == 0


async def test_an_error_of_a_large_body_is_told_at_its_deadline(tmp_path: Path, reading: Reading) -> None:
    """What the predictor said is true, even while what else may be said is not known yet."""
    async with Replica(tmp_path) as replica:
        status, text = await replica.ask("/predict", timeout_ms=3000)
        assert (reading.begun, status) == (1, 404)
        assert json.loads(text)["code"] == "model_not_found"


async def test_that_nobody_answered_is_told_without_a_look_at_a_large_body(tmp_path: Path, reading: Reading) -> None:
    async with Replica(tmp_path, waiting_requests=1) as replica:
        replica.predictor.answering.clear()
        asked = asyncio.create_task(replica.ask("/predict", timeout_ms=3000))
        await until(lambda: replica.held == 1)
        refused = await replica.ask("/predict")
        late = await asked
    assert [(status, json.loads(text)["code"]) for status, text in (late, refused)] == [
        (504, "deadline_exceeded"),
        (429, "overloaded"),
    ]
    assert reading.begun == 0


async def test_a_small_body_that_is_no_json_is_refused_even_where_nobody_answers(tmp_path: Path) -> None:
    async with Replica(tmp_path) as replica:
        await replica.lose_broker()
        headers = {"content-type": "application/json"}
        bodies = (b'{"model":"m","instances":[[1,]]}', b'{"model":"m","instances":[[1]]}')
        answers = [await replica.client.post("/predict", content=one, headers=headers) for one in bodies]
    assert [answer.status_code for answer in answers] == [400, 503]


@pytest.mark.usefixtures("no_ledger_threads")
async def test_a_new_key_is_looked_up_within_the_deadline(tmp_path: Path) -> None:
    """The ledger says nothing; whoever gave 100 ms does not wait a second for that."""
    async with Replica(tmp_path, keys="required") as replica:
        status, text = await replica.ask("/predict", 300, timeout_ms=100, key=minting.mint().text)
        assert (status, json.loads(text)["code"]) == (504, "deadline_exceeded")
        await replica.until_read()
        assert replica.counted_bytes == 0


async def test_bodies_without_a_known_key_leave_room_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger says nothing of two new keys; whose key is known is asked about nothing."""
    monkeypatch.setattr("api.keys.keyring.LOOK_WAIT_S", 5.0)
    async with Replica(tmp_path, keys="required", waiting_bytes=4_000_000) as replica:
        key = await replica.make_key()
        take_ledger_threads()
        first = asyncio.create_task(replica.ask("/predict", 1_500_000, key=minting.mint().text))
        await until(lambda: replica.taken == 1)
        statuses = [(await replica.ask("/predict", 1_500_000, key=given))[0] for given in (minting.mint().text, key)]
        assert statuses == [429, 404]
        assert (await first)[0] == 503
        assert replica.counted_bytes == 0


async def test_bodies_count_for_as_long_as_they_are_held(tmp_path: Path, reading: Reading) -> None:
    """Two of three that fit are being read, past their deadline; the third is never read, for nobody waits."""
    async with Replica(tmp_path, waiting_bytes=3_100_000) as replica:
        asked = [asyncio.create_task(replica.ask(INFER, 1_000_000, timeout_ms=3000)) for _ in range(3)]
        await reading.until_begun(2)
        await until(lambda: replica.taken == 3)
        before = await replica.ask(INFER, 1_000_000)
        assert [status for status, _ in await asyncio.gather(*asked)] == [504, 504, 504]
        after = await replica.ask(INFER, 1_000_000)
        assert [status for status, _ in (before, after)] == [429, 429]
        reading.going_on.set()
        await replica.until_read()
        assert (reading.begun, replica.counted_bytes) == (2, 0)
        assert (await replica.ask(INFER, 1_000_000))[0] == 404


async def test_a_defect_in_reading_a_large_body_is_a_plain_500(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Native, "read", broken)
    async with Replica(tmp_path) as replica:
        status, text = await replica.ask("/predict")
    assert (status, json.loads(text)["code"]) == (500, "internal_error")
