"""The child of a training: what it is given, how its end is told, and that it ends with all it started."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store import durable
from model_store.volume import Volume
from tests.integration.trainer.peers import Worker, alive
from tests.rabbit import wait_until
from trainer.service import TrainerService
from wire import errors, messages, settings

Start = Callable[..., TrainerService]


def test_a_silent_fit_is_said_to_be_alive(trainer: TrainerService, worker: Worker, tmp_path: Path) -> None:
    with worker.training(worker.request(wait_for=str(tmp_path / "go"))) as training:
        training.until("reading")
        for _ in range(4):
            training.next()
        (tmp_path / "go").touch()
        training.done()


def test_a_stopped_training_ends_its_child_with_all_it_started(
    trainer: TrainerService, worker: Worker, volume: Volume, tmp_path: Path
) -> None:
    request = worker.request(wait_for=str(tmp_path / "never"), grandchild=True)
    with worker.training(request) as training:
        child, grandchild = map(int, training.until("reading").message.split())
        wait_until(lambda: alive(child) and alive(grandchild), "both run")
        worker.stop("another-job")
        worker.stop(request.job_id)
        with pytest.raises(errors.Cancelled):
            training.done()

    wait_until(lambda: not alive(child) and not alive(grandchild), "both are gone")
    assert volume.versions("iris") == []
    assert durable.entries(volume.tmp("iris")) == []
    assert worker.train().version == 1


@pytest.mark.parametrize(
    ("orders", "kind"),
    [
        ({"kill": True}, errors.InternalError),
        ({"die": "Segmentation fault"}, errors.InternalError),
        ({"die": "MemoryError"}, errors.TrainingFailed),
        ({"die": "OSError: [Errno 28] No space left on device"}, errors.StorageFull),
        ({"error": "training_failed"}, errors.TrainingFailed),
        ({"error": "internal_error"}, errors.InternalError),
    ],
)
def test_a_child_that_fails_is_told_apart_by_whose_fault_it_is(
    trainer: TrainerService, worker: Worker, volume: Volume, orders: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        worker.train(**orders)

    assert type(caught.value) is kind
    assert durable.entries(volume.tmp("iris")) == []
    assert worker.train().version == 1


def test_a_child_that_cannot_be_started_is_our_fault(
    start_trainer: Start, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_trainer(child_module="tests.no_such_module")
    with pytest.raises(errors.InternalError):
        worker.train()

    def no_room(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", no_room)
    with pytest.raises(errors.InternalError):
        worker.train()


@pytest.mark.parametrize("dataset", ["0" * 32, "../../etc"])
def test_a_dataset_that_is_not_there_is_said(
    trainer: TrainerService, worker: Worker, monkeypatch: pytest.MonkeyPatch, dataset: str
) -> None:
    with pytest.raises(errors.DatasetNotFound):
        worker.train(dataset=messages.DatasetRef(id=dataset))


def test_an_uploads_file_is_handed_to_the_child(
    trainer: TrainerService, worker: Worker, config: settings.Settings, tmp_path: Path
) -> None:
    folder = config.paths.datasets / ("a" * 32)
    folder.mkdir()
    (folder / "data.csv").write_text("a,b\n1,2\n")

    go = tmp_path / "go"
    request = worker.request(dataset=messages.DatasetRef(id="a" * 32), write_when=str(go))
    with worker.training(request) as training:
        training.until("writing", f"csv, {folder / 'data.csv'}")
        go.touch()
        training.done()
