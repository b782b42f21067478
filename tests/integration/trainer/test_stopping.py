"""A trainer that stops: what runs is finished or left to another, and nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.volume import Volume
from tests.integration.trainer.peers import WAIT_S, Worker, alive, champion
from tests.rabbit import wait_until
from trainer.service import TrainerService
from wire import errors

Start = Callable[..., TrainerService]


def test_a_stopping_trainer_lets_a_training_finish_and_promotes_it(
    start_trainer: Start, worker: Worker, volume: Volume, tmp_path: Path
) -> None:
    service = start_trainer()
    with worker.training(worker.request(wait_for=str(tmp_path / "go"))) as training:
        training.until("reading")
        stopping = threading.Thread(target=service.stop, args=(WAIT_S,))
        stopping.start()
        wait_until(lambda: service._trainings._closing is not None, "the stop has begun")
        (tmp_path / "go").touch()
        done = training.done()
        stopping.join(WAIT_S)

    assert done.promoted
    assert not stopping.is_alive()
    assert champion(volume) == 1


def test_a_stopping_trainer_ends_a_training_that_lasts_too_long_and_leaves_it_to_another(
    start_trainer: Start, worker: Worker, volume: Volume, tmp_path: Path
) -> None:
    service = start_trainer()
    request = worker.request(wait_for=str(tmp_path / "go"))
    with worker.training(request) as training:
        child = int(training.until("reading").message)
        service.stop(0.2)
        with pytest.raises(errors.Stopping):
            training.done()
    assert not alive(child)

    (tmp_path / "go").touch()
    start_trainer()
    assert worker.train(job_id=request.job_id).version == 1


def test_a_training_waiting_in_a_stopped_trainer_is_taken_by_the_next(
    start_trainer: Start, worker: Worker, tmp_path: Path
) -> None:
    service = start_trainer()
    first, second = worker.request(wait_for=str(tmp_path / "never")), worker.request()
    with worker.training(first) as one, worker.training(second) as two:
        one.until("reading")
        service.stop(0.1)
        start_trainer()
        assert two.done().version == 1
