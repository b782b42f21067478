"""Trainings through a real broker: once per job, promoted as asked, ended when told to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store import aliases, deletion, durable, publishing, reading, settling, signing
from model_store.volume import Volume
from tests.integration.trainer.peers import WAIT_S, Worker, alive, champion
from tests.rabbit import Rabbit, wait_until
from trainer.service import TrainerService
from wire import errors, messages, settings, topology
from wire.deadlines import Deadline

Start = Callable[..., TrainerService]


def test_a_training_ends_with_a_signed_version_that_is_champion(
    trainer: TrainerService, worker: Worker, volume: Volume, config: settings.Settings
) -> None:
    request = worker.request()
    with worker.training(request) as training:
        done = training.done()

    assert (done.job_id, done.version, done.metrics, done.promoted) == (request.job_id, 1, {"accuracy": 0.5}, True)
    assert champion(volume) == 1
    verifier = signing.Verifier(config.paths.verify_key_file)
    artefact = reading.read(volume, "iris", 1, verifier, 10**6)
    assert set(artefact.files) == {"model.onnx", "schema.json", "samples.json"}
    assert artefact.manifest.job_id == request.job_id
    assert durable.entries(volume.tmp("iris")) == []
    fractions = [said.fraction for said in training.progress]
    assert fractions == sorted(fractions)
    assert {"starting", "publishing", "warming"} <= {said.stage for said in training.progress}


def test_the_champion_is_handed_to_the_child_and_kept_when_the_new_version_is_worse(
    trainer: TrainerService, worker: Worker, volume: Volume, tmp_path: Path
) -> None:
    worker.train()

    go = tmp_path / "go"
    with worker.training(worker.request(better=False, write_when=str(go))) as training:
        training.until("writing", "champion 1, sample")
        go.touch()
        done = training.done()

    assert (done.version, done.promoted, done.promotion_reason) == (2, False, "it is not as good")
    assert champion(volume) == 1


@pytest.mark.parametrize(("promote", "moved"), [("always", True), ("never", False), ("if_better", True)])
def test_the_request_says_whether_a_version_becomes_champion(
    trainer: TrainerService, worker: Worker, volume: Volume, promote: str, moved: bool
) -> None:
    worker.train()

    done = worker.train(promote=promote, better=promote == "if_better")

    assert done.promoted is moved
    assert champion(volume) == (2 if moved else 1)


def test_a_champion_that_moved_during_the_training_is_not_replaced(
    trainer: TrainerService, worker: Worker, volume: Volume, tmp_path: Path
) -> None:
    worker.train()
    worker.train(better=False)
    with worker.training(worker.request(wait_for=str(tmp_path / "go"))) as training:
        training.until("reading")
        worker.change(messages.SetAlias(model="iris", alias="champion", version=2), messages.AliasState)
        (tmp_path / "go").touch()
        done = training.done()

    assert (done.version, done.promoted) == (3, False)
    assert "another version became champion" in done.promotion_reason
    assert champion(volume) == 2


def test_a_job_delivered_again_gets_the_same_answer_and_no_second_fit(
    trainer: TrainerService, worker: Worker, volume: Volume, tmp_path: Path
) -> None:
    first = worker.train(job_id="job-1")
    assert worker.train(better=True).promoted

    again = worker.train(job_id="job-1", die="the child must not run again")

    assert again == first
    assert champion(volume) == 2
    assert volume.versions("iris") == [1, 2]


def test_a_job_that_was_published_but_not_promoted_is_finished_by_its_next_delivery(
    start_trainer: Start, worker: Worker, volume: Volume, config: settings.Settings
) -> None:
    start_trainer()
    done = worker.train(job_id="job-1")
    aliases.delete_alias(volume, "iris", "champion")
    for path in (volume.aliases("iris") / ".log").iterdir():
        path.unlink()
    assert champion(volume) == 0

    again = worker.train(job_id="job-1")

    assert again == done
    assert champion(volume) == 1


def test_a_job_whose_version_was_deleted_is_answered_with_it_and_not_repeated(
    trainer: TrainerService, worker: Worker, volume: Volume
) -> None:
    worker.train()
    worker.train(job_id="job-2", better=False)
    deletion.delete_version(volume, "iris", 2)

    again = worker.train(job_id="job-2")

    assert (again.version, again.promoted, again.promotion_reason) == (2, False, "the version was deleted since")


def test_a_settled_job_is_answered_as_cancelled(
    trainer: TrainerService, worker: Worker, volume: Volume, config: settings.Settings
) -> None:
    settling.settle(volume, "iris", "job-1", signing.Verifier(config.paths.verify_key_file))

    with pytest.raises(errors.Cancelled):
        worker.train(job_id="job-1")
    assert volume.versions("iris") == []


def test_a_training_whose_job_was_settled_ends_though_the_message_to_stop_it_is_lost(
    trainer: TrainerService, worker: Worker, tmp_path: Path
) -> None:
    request = worker.request(wait_for=str(tmp_path / "never"))
    with worker.training(request) as training:
        child = int(training.until("reading").message)
        worker.change(messages.Settle(model="iris", job_id=request.job_id), messages.Settled)
        with pytest.raises(errors.Cancelled):
            training.done()
    assert not alive(child)


def test_a_request_is_acknowledged_when_its_child_runs_and_the_next_one_waits_in_the_queue(
    trainer: TrainerService, worker: Worker, rabbitmq: Rabbit, broker: settings.Broker, tmp_path: Path
) -> None:
    first, second = worker.request(wait_for=str(tmp_path / "go")), worker.request()
    with worker.training(first) as one, worker.training(second) as two:
        one.until("reading")

        def queue() -> tuple[int, int]:
            state = rabbitmq.api("GET", f"/queues/{broker.vhost}/{topology.TRAIN}")
            return state.get("messages_unacknowledged", 0), state.get("messages_ready", 0)

        wait_until(lambda: queue() == (0, 1), "the first acknowledged, the second in the queue")
        (tmp_path / "go").touch()
        assert {one.done().version, two.done().version} == {1, 2}


def test_what_is_no_request_is_refused_and_the_trainer_goes_on(trainer: TrainerService, worker: Worker) -> None:
    with pytest.raises(errors.MalformedBody):
        worker.rpc.call(topology.TRAIN, messages.ListModels(), messages.TrainDone, deadline=Deadline.after(WAIT_S))
    assert worker.train().version == 1


def test_a_bad_model_name_is_refused(trainer: TrainerService, worker: Worker) -> None:
    with pytest.raises(errors.BadInput):
        worker.train(model="../x")


def test_a_rehearsed_training_lasts_as_long_as_it_is_told_to_and_can_be_stopped(
    start_trainer: Start, worker: Worker, config: settings.Settings, tmp_path: Path
) -> None:
    def paced(pace_s: float) -> TrainerService:
        slow = config.train.model_copy(update={"pace_s": pace_s})
        return start_trainer(config=config.model_copy(update={"train": slow}))

    service = paced(1.0)
    started = time.monotonic()
    worker.train()
    assert time.monotonic() - started >= 1
    service.stop(0)

    paced(3600.0)
    request = worker.request(wait_for=str(tmp_path / "go"))
    with worker.training(request) as training:
        child = int(training.until("reading").message)
        (tmp_path / "go").touch()
        wait_until(lambda: not alive(child), "all that is left is to wait")
        worker.stop(request.job_id)
        with pytest.raises(errors.Cancelled):
            training.done()


def test_one_job_in_two_trainers_gets_one_version(
    start_trainer: Start, worker: Worker, volume: Volume, tmp_path: Path
) -> None:
    start_trainer()
    start_trainer()
    request = worker.request(wait_for=str(tmp_path / "go"))
    with worker.training(request) as one, worker.training(request) as two:
        one.until("reading")
        two.until("reading")
        (tmp_path / "go").touch()
        answers = [one.done(), two.done()]

    # Its number is 1 or 2: whoever comes second may have reserved one, and leaves it out.
    assert {answer.version for answer in answers} == {*volume.versions("iris")}
    assert len(volume.versions("iris")) == 1
    assert all(answer.promoted for answer in answers)


def test_a_publish_that_cannot_find_its_draft_is_retried_elsewhere(
    trainer: TrainerService, worker: Worker, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError("the draft")

    monkeypatch.setattr(publishing, "publish", gone)

    with pytest.raises(errors.InternalError):
        worker.train()
