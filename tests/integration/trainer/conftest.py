"""A trainer with a child that is made to order, on a real broker, and its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model_store import signing
from model_store.volume import Volume
from tests.integration.trainer.peers import WAIT_S, Predictor, Worker
from trainer.service import TrainerService
from wire import settings

CHILD = "tests.integration.trainer.fake_child"


@pytest.fixture
def config(broker: settings.Broker, tmp_path: Path) -> settings.Settings:
    for name in ("models", "datasets"):
        (tmp_path / name).mkdir()
    private, public = signing.generate_keys(tmp_path / "secrets")
    return settings.Settings(
        broker=broker,
        process=settings.Process(drain_s=5),
        predict=settings.Predict(presence_s=0.1),
        train=settings.Train(alive_s=0.4, presence_timeout_s=5, warm_wait_s=5, prove_s=0.2, measure_s=0.05),
        paths=settings.Paths(
            models=tmp_path / "models",
            datasets=tmp_path / "datasets",
            signing_key_file=private,
            verify_key_file=public,
        ),
    )


@pytest.fixture
def volume(config: settings.Settings) -> Volume:
    return Volume(config.paths.models)


@pytest.fixture
def start_trainer(config: settings.Settings) -> Iterator[Callable[..., TrainerService]]:
    """Start trainers; each is stopped at the end."""
    running: list[TrainerService] = []

    def start(**options: Any) -> TrainerService:
        service = TrainerService(options.pop("config", config), **{"child_module": CHILD, **options})
        service.start()
        running.append(service)
        assert service.wait_ready(WAIT_S)
        return service

    yield start
    for service in running:
        service.stop(0)


@pytest.fixture
def trainer(start_trainer: Callable[..., TrainerService]) -> TrainerService:
    return start_trainer()


@pytest.fixture
def worker(broker: settings.Broker) -> Iterator[Worker]:
    worker = Worker(broker)
    yield worker
    worker.close()


@pytest.fixture
def start_predictor(broker: settings.Broker, volume: Volume) -> Iterator[Callable[[str], Predictor]]:
    running: list[Predictor] = []

    def start(name: str) -> Predictor:
        predictor = Predictor(broker, volume, name)
        running.append(predictor)
        predictor.start()
        return predictor

    yield start
    for predictor in running:
        predictor.stop()
