"""Predictors on a real broker and a real volume: in this process, and as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from predictor.service import PredictorService
from tests.rabbit import wait_until
from tests.unit.predictor.artefacts import Shelf
from wire import settings
from wire.async_client import AsyncRpcClient

ROOT = Path(__file__).parents[3]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf.make(tmp_path)


@pytest.fixture
def config(broker: settings.Broker, shelf: Shelf) -> settings.Settings:
    return settings.Settings(
        broker=broker,
        predict=settings.Predict(presence_s=0.2),
        limits=settings.Limits(predict_rows=200_000),
        paths=settings.Paths(models=shelf.volume.root, verify_key_file=shelf.verify_key_file),
    )


@pytest.fixture
def start_service(config: settings.Settings) -> Iterator[Callable[[], PredictorService]]:
    started: list[PredictorService] = []

    def start() -> PredictorService:
        started.append(PredictorService(config))
        started[-1].start()
        assert started[-1].wait_ready(15)
        return started[-1]

    yield start
    for service in started:
        service.stop(5)


@pytest.fixture
def service(start_service: Callable[[], PredictorService]) -> PredictorService:
    return start_service()


@pytest.fixture
async def client(broker: settings.Broker) -> AsyncIterator[AsyncRpcClient]:
    made = AsyncRpcClient(broker, "api", "replica")
    await made.start()
    assert await made.wait_connected(15)
    yield made
    await made.close()


class PredictorProcess:
    """``python -m predictor``."""

    def __init__(self, config: settings.Settings, port: int) -> None:
        broker = config.broker
        environment = os.environ | {
            "WARREN_BROKER__HOST": broker.host,
            "WARREN_BROKER__PORT": str(broker.port),
            "WARREN_BROKER__VHOST": broker.vhost,
            "WARREN_PATHS__MODELS": str(config.paths.models),
            "WARREN_PATHS__VERIFY_KEY_FILE": str(config.paths.verify_key_file),
            "WARREN_PROCESS__METRICS_PORT": str(port),
        }
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([sys.executable, "-m", "predictor"], cwd=ROOT, env=environment)

    def ready(self) -> bool:
        assert self.process.poll() is None, "the predictor ended"
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_ready(self) -> PredictorProcess:
        wait_until(self.ready, "the predictor is ready", 60)
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def start_process(config: settings.Settings) -> Iterator[Callable[[], PredictorProcess]]:
    from deploy.native.broker import Ports

    started: list[PredictorProcess] = []

    def start() -> PredictorProcess:
        started.append(PredictorProcess(config, Ports.free().amqp))
        return started[-1]

    yield start
    for one in started:
        one.end()
