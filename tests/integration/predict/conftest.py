"""A replica in this process, predictors beside it, and predictors that can be killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import Gateway, create_app
from api.predict import patience
from tests.integration.predict.scripted import ScriptedPredictor
from wire import settings

ROOT = Path(__file__).parents[3]


class Replica:
    """A replica's application and a client of it."""

    def __init__(self, app: Gateway, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client

    async def predict(
        self, rows: Any, model: str = "m", timeout_ms: int | None = None, **members: Any
    ) -> httpx.Response:
        headers = {} if timeout_ms is None else {"X-Request-Timeout-Ms": str(timeout_ms)}
        body = {"model": model, "instances": rows, **members}
        return await self.client.post("/predict", json=body, headers=headers)

    async def raw_predict(self, body: bytes, request_id: str) -> dict[str, Any]:
        """The answer's members, asked by bare ASGI: a tenth of what an HTTP client costs."""
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])
        sent: list[Any] = []

        async def receive() -> Any:
            for part in parts:
                return part
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
        ]
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
        await self.app(scope, receive, send)
        told: dict[str, Any] = json.loads(sent[1]["body"])
        return told

    @property
    def held(self) -> int:
        return int(self.app.state.gateway.coalescer.held)


async def until(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 30.0) -> None:
    """Wait for a condition that is itself asked with await."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 - the condition lies in other processes
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: {what}") from None


OpenReplica = Callable[..., AbstractAsyncContextManager[Replica]]


@pytest.fixture
def open_replica(broker: settings.Broker, tmp_path: Path) -> OpenReplica:
    """Opens a replica of this test's broker; keywords are settings of the prediction path, and ``api``.

    Deadlines are long unless a test is about them: a busy machine must not end what it asks.
    """

    @asynccontextmanager
    async def opened(api: settings.Api | None = None, **predict: Any) -> AsyncIterator[Replica]:
        config = settings.Settings(
            broker=broker,
            api=api or settings.Api(),
            ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"),
            predict=settings.Predict(**({"deadline_ms": 20_000} | predict)),
        )
        app = create_app(config)
        async with app.router.lifespan_context(app):
            assert await app.state.gateway.rpc.wait_connected(15)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                yield Replica(app, client)

    return opened


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing counts as late: a busy machine must not bring second copies into a test of something else."""
    for name in ("UNKNOWN_S", "FLOOR_S"):
        monkeypatch.setattr(patience, name, 60.0)


@pytest.fixture
def predictor(broker: settings.Broker) -> Iterator[ScriptedPredictor]:
    """One predictor in this process, taking one batch at a time."""
    one = ScriptedPredictor(broker).start()
    yield one
    one.stop()


class PredictorProcess:
    """A predictor as a process of its own."""

    def __init__(self, broker: settings.Broker, mode: str) -> None:
        address = (broker.host, str(broker.port), broker.vhost)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.predict.scripted", *address, mode],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate(timeout=10)


@pytest.fixture
def start_process(broker: settings.Broker) -> Iterator[Callable[..., PredictorProcess]]:
    """Starts predictors as processes; what is left of them ends with the test."""
    started: list[PredictorProcess] = []

    def start(mode: str = "answering") -> PredictorProcess:
        started.append(PredictorProcess(broker, mode))
        return started[-1]

    yield start
    for one in started:
        one.end()
