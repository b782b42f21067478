"""Trainers are replaced one after another while a job runs: it goes on, and pays with no attempt.

Worker and trainers are whole, with a child made to order; the broker is wire's own in memory.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api.jobs import task
from tests.integration.trainer.conftest import config, start_trainer
from tests.rabbit import wait_until
from tests.unit.api.shop import Shop
from trainer import service
from trainer.service import TrainerService
from wire import errors, settings

__all__ = ["config", "start_trainer"]


@pytest.fixture
def broker(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> settings.Broker:
    monkeypatch.setattr(service, "RpcClient", lambda _, role, name: shop.broker.client(role, name))
    monkeypatch.setattr(service, "RpcServer", lambda _, role, name: shop.broker.server(role, name))
    return shop.broker.settings


def test_a_job_outlives_as_many_trainers_as_it_has_attempts(
    config: settings.Settings, start_trainer: Callable[..., TrainerService], shop: Shop
) -> None:
    def trainer(pace_s: float) -> TrainerService:
        train = config.train.model_copy(update={"pace_s": pace_s, "alive_s": 0.1})
        return start_trainer(config=config.model_copy(update={"train": train}))

    job = shop.accepted()
    for _ in range(3):
        old = trainer(pace_s=600)
        thread = shop.begin(job)
        wait_until(lambda old=old: old._trainings._active, "it is being trained")  # type: ignore[misc]
        old.stop(0.1)
        thread.join(15)
        left = shop.find(job)
        assert (left.holder, left.attempts, left.confirmed) == (None, 0, True)
    trainer(pace_s=0)
    job = shop.run(job)
    assert (job.status, job.attempts, job.dead_letter) == ("succeeded", 1, "")


def test_a_trainer_that_does_nothing_but_stop_is_not_asked_without_pause(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(task, "_RETRY_PAUSE_S", 100.0)
    monkeypatch.setattr(shop.stopping, "wait", lambda pause_s: bool(pauses.append(pause_s)))
    shop.trainer().failures = [errors.Stopping()]
    assert shop.run(shop.accepted()).attempts == 0
    [pause_s] = pauses
    assert 50 <= pause_s <= 150
