"""The life of jobs over the real broker with a real worker process and a scripted trainer."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from api.jobs import dead_letters
from api.jobs.celery_app import job_message, make_app
from tests.integration.jobs.conftest import Gateway, ready_messages
from tests.integration.jobs.trainer_double import TrainerDouble
from tests.integration.jobs.worker_process import WorkerProcess
from tests.jobs import new_job
from tests.rabbit import Rabbit, wait_until
from wire import errors, settings, topology

StartWorker = Callable[..., WorkerProcess]


def test_accepted_job_is_trained_once_and_succeeds(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess
) -> None:
    job = gateway.wait_ended(gateway.submit())
    assert (job.status, job.attempts, job.fraction) == ("succeeded", 1, 1.0)
    assert msgspec.json.decode(job.result or "") == {
        "model": "good",
        "version": 1,
        "metrics": {"accuracy": 0.9},
        "promoted": True,
        "promotion_reason": "The first version.",
    }
    assert gateway.terminal_events(job) == ["succeeded"]
    assert trainer.fits[job.job_id] == 1


def test_worker_says_everything_as_json_and_never_the_password(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess
) -> None:
    gateway.wait_ended(gateway.submit())
    lines = worker.lines()
    assert {"process.started", "lease.taken", "job.finished"} <= {line["action"] for line in lines}
    assert "not json" not in {line["action"] for line in lines}
    assert "guest:guest" not in worker.log.read_text()


def test_failure_of_the_input_ends_the_job_at_once(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess, rabbitmq: Rabbit, config: settings.Settings
) -> None:
    job = gateway.wait_ended(gateway.submit("input"))
    assert (job.status, job.attempts, job.error_code) == ("failed", 1, "training_failed")
    assert job.error_message == "The target has a single class."
    assert job.dead_letter == ""
    assert ready_messages(rabbitmq, config, topology.DEAD) == 0


@pytest.mark.parametrize("model", ["flaky", "silent"])
def test_failure_that_is_not_the_inputs_is_tried_again(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess, model: str
) -> None:
    job = gateway.wait_ended(gateway.submit(model))
    assert (job.status, job.attempts) == ("succeeded", 2)
    assert gateway.terminal_events(job) == ["succeeded"]


def test_stopped_trainers_cost_no_attempt(gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess) -> None:
    trainer.failures = [errors.Stopping() for _ in range(3)]
    job = gateway.wait_ended(gateway.submit())
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert (trainer.failures, trainer.fits[job.job_id]) == ([], 4)


def test_poison_has_three_attempts_and_one_dead_letter_and_holds_up_nobody(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess, rabbitmq: Rabbit, config: settings.Settings
) -> None:
    poison = gateway.submit("poison")
    good = gateway.submit("good")
    assert gateway.wait_ended(good).status == "succeeded"
    job = gateway.wait_ended(poison)
    assert (job.status, job.attempts, job.error_code) == ("failed", 3, "internal_error")
    assert trainer.fits[job.job_id] == 3
    assert job.job_id in trainer.tombstones
    wait_until(lambda: gateway.find(job).dead_letter == "sent", "the dead letter is out")
    assert ready_messages(rabbitmq, config, topology.DEAD) == 1
    app = make_app(config.broker)
    assert [line.split("\t")[0] for line in dead_letters.show(app, gateway.ledger)] == [job.job_id]


def test_task_of_a_withdrawn_job_is_dropped(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess, rabbitmq: Rabbit, config: settings.Settings
) -> None:
    job = gateway.ledger.jobs.accept(new_job(), queued_limit=9)
    gateway.ledger.jobs.withdraw(job)
    message = job_message(make_app(config.broker), job.job_id, "r")
    with rabbitmq.channel(config.broker.vhost) as channel:
        channel.basic_publish(topology.JOBS, topology.JOBS, message.body, message.properties)
    wait_until(lambda: "job.dropped" in {line["action"] for line in worker.lines()}, "the task is dropped")
    assert trainer.requests == []


def test_job_that_was_never_published_is_brought_by_the_reaper(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess
) -> None:
    job = gateway.ledger.jobs.accept(new_job(), queued_limit=9)
    assert gateway.wait_ended(job).status == "succeeded"


def test_messages_nobody_can_read_go_to_the_dead_letters_and_the_worker_goes_on(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess, rabbitmq: Rabbit, config: settings.Settings
) -> None:
    good = job_message(make_app(config.broker), "0" * 32, "r").properties
    headers = dict(good.headers)
    with rabbitmq.channel(config.broker.vhost) as channel:

        def send(body: bytes, **changed: object) -> None:
            properties = type(good)(**{"content_type": "application/json", "content_encoding": "utf-8"} | changed)
            channel.basic_publish(topology.JOBS, topology.JOBS, body, properties)

        send(b"not json", headers=headers)
        send(b"{}", headers=headers)
        send(b"7", headers=headers)
        send(b"[[], {}]", headers=headers)
        send(b"hello")
        send(b"", headers={})
        send(b'[["x"], {}, {}]', headers={**headers, "task": "os.system"})
        send(b"\x80\x04.", headers=headers, content_type="application/x-python-serialize", content_encoding="binary")
    wait_until(lambda: ready_messages(rabbitmq, config, topology.DEAD) == 8, "all eight are dead letters", 30)
    assert gateway.wait_ended(gateway.submit()).status == "succeeded"
    assert worker.process.poll() is None
    assert ready_messages(rabbitmq, config, topology.JOBS) == 0


@pytest.mark.parametrize("arguments", [b"[[7], {}, {}]", b"[[], {}, {}]", b'[["x", "y"], {}, {}]', b'[["x"], {}, {}]'])
def test_tasks_with_strange_arguments_are_dropped_and_the_worker_goes_on(
    gateway: Gateway,
    trainer: TrainerDouble,
    worker: WorkerProcess,
    rabbitmq: Rabbit,
    config: settings.Settings,
    arguments: bytes,
) -> None:
    good = job_message(make_app(config.broker), "0" * 32, "r").properties
    with rabbitmq.channel(config.broker.vhost) as channel:
        channel.basic_publish(topology.JOBS, topology.JOBS, arguments, good)
    assert gateway.wait_ended(gateway.submit()).status == "succeeded"
    wait_until(lambda: ready_messages(rabbitmq, config, topology.JOBS) == 0, "nothing is left")


def test_replayed_dead_letter_is_a_new_job(
    gateway: Gateway,
    trainer: TrainerDouble,
    worker: WorkerProcess,
    rabbitmq: Rabbit,
    config: settings.Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dead = gateway.wait_ended(gateway.submit("poison"))
    wait_until(lambda: gateway.find(dead).dead_letter == "sent", "the dead letter is out")
    with rabbitmq.channel(config.broker.vhost) as channel:
        channel.basic_publish(topology.DEAD, topology.DEAD, b"what is this")
    monkeypatch.setattr(settings, "load", lambda: config)
    assert dead_letters.main(["list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert dead_letters.main(["replay", "0" * 32]) == 1
    assert capsys.readouterr().out == ""
    assert dead_letters.main(["replay", dead.job_id]) == 0
    old, new = capsys.readouterr().out.split()
    assert old == dead.job_id
    (deed,) = gateway.ledger.audit.page(before=None, limit=1)
    assert (deed.actor, deed.action, deed.target) == ("command-line", "train.accepted", f"{new} poison")
    again = gateway.wait_ended(gateway.ledger.jobs.find(new, owner=None))
    assert (again.status, again.attempts, again.model) == ("failed", 3, "poison")
    wait_until(lambda: ready_messages(rabbitmq, config, topology.DEAD) == 2, "the new dead letter and the stranger")
