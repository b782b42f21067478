"""Faults in the life of jobs: workers killed, stopped and frozen, messages lost and doubled, brokers gone."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from api.jobs import dead_letters
from api.jobs.celery_app import job_message, make_app
from api.ledger import rows
from tests.integration.jobs.conftest import Gateway
from tests.integration.jobs.trainer_double import TrainerDouble
from tests.integration.jobs.worker_process import WorkerProcess
from tests.jobs import new_job
from tests.rabbit import Rabbit, wait_until
from wire import provision, settings, topology
from wire.retention import Retention

StartWorker = Callable[..., WorkerProcess]


def test_ten_deliveries_of_one_job_train_once(
    gateway: Gateway, trainer: TrainerDouble, start_worker: StartWorker, rabbitmq: Rabbit, config: settings.Settings
) -> None:
    job = gateway.submit()
    message = job_message(make_app(config.broker), job.job_id, "r")
    with rabbitmq.channel(config.broker.vhost) as channel:
        for _ in range(10):
            channel.basic_publish(topology.JOBS, topology.JOBS, message.body, message.properties)
    workers = [start_worker(), start_worker()]
    ended = gateway.wait_ended(job)
    dropped = lambda: sum(line["action"] == "job.dropped" for one in workers for line in one.lines())  # noqa: E731
    wait_until(lambda: dropped() == 10, "ten deliveries are dropped")
    assert (ended.status, ended.attempts) == ("succeeded", 1)
    assert trainer.fits[job.job_id] == 1
    assert gateway.terminal_events(job) == ["succeeded"]


def test_job_whose_message_the_broker_lost_is_brought_by_the_reaper(
    gateway: Gateway, trainer: TrainerDouble, start_worker: StartWorker, rabbitmq: Rabbit, config: settings.Settings
) -> None:
    job = gateway.submit()
    with rabbitmq.channel(config.broker.vhost) as channel:
        channel.queue_purge(topology.JOBS)
    hasty = config.train.model_copy(update={"lease_stale_s": 2.5})
    start_worker(config.model_copy(update={"train": hasty}))
    assert gateway.wait_ended(job).status == "succeeded"


def test_killed_worker_loses_nothing(gateway: Gateway, trainer: TrainerDouble, start_worker: StartWorker) -> None:
    first = start_worker()
    gate = trainer.gate("slow")
    job = gateway.submit("slow")
    gateway.wait_status(job, "running")
    first.kill()
    start_worker()
    trainer.wait_for(job.job_id, 2)
    gate.set()
    ended = gateway.wait_ended(job)
    assert (ended.status, ended.attempts) == ("succeeded", 2)
    assert len(trainer.versions) == 1
    assert gateway.terminal_events(job) == ["succeeded"]


def test_stopped_worker_gives_its_jobs_back_and_no_attempt_is_counted(
    gateway: Gateway, trainer: TrainerDouble, start_worker: StartWorker
) -> None:
    first = start_worker()
    gate = trainer.gate("slow")
    jobs = gateway.submit_all([new_job(model="slow") for _ in range(3)])
    for job in jobs:
        gateway.wait_status(job, "running")
    assert first.terminate() == 0
    assert [(gateway.find(job).holder, gateway.find(job).attempts) for job in jobs] == [(None, 0)] * 3
    assert all(gateway.find(job).status == "running" and gateway.find(job).confirmed for job in jobs)
    gate.set()
    start_worker()
    for job in jobs:
        assert (gateway.wait_ended(job).status, gateway.find(job).attempts) == ("succeeded", 1)
    assert len(trainer.versions) == 3


def test_frozen_worker_that_wakes_up_changes_nothing(
    gateway: Gateway, trainer: TrainerDouble, start_worker: StartWorker
) -> None:
    zombie = start_worker()
    gate = trainer.gate("slow")
    job = gateway.submit("slow")
    gateway.wait_status(job, "running")
    zombie.process.send_signal(signal.SIGSTOP)
    start_worker()
    trainer.wait_for(job.job_id, 2)
    zombie.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "lease.lost" in {line["action"] for line in zombie.lines()}, "the zombie notices")
    gate.set()
    ended = gateway.wait_ended(job)
    assert (ended.status, ended.attempts, len(trainer.versions)) == ("succeeded", 2, 1)
    assert gateway.terminal_events(job) == ["succeeded"]


def test_training_outlives_the_brokers_acknowledgement_timeout(
    gateway: Gateway, trainer: TrainerDouble, start_worker: StartWorker, rabbitmq: Rabbit
) -> None:
    """Acknowledged early, so the broker has nothing to time out; the lease protects the job."""
    rabbitmq.node.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1000).")
    rabbitmq.node.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 500).")
    try:
        worker = start_worker()
        gate = trainer.gate("slow")
        job = gateway.submit("slow")
        gateway.wait_status(job, "running")
        born = time.monotonic()
        wait_until(lambda: time.monotonic() - born > 6, "six timeouts have passed", 10)
        gate.set()
        ended = gateway.wait_ended(job)
    finally:
        rabbitmq.node.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")
        rabbitmq.node.ctl("eval", "application:set_env(rabbit, channel_tick_interval, 60000).")
    assert (ended.status, ended.attempts) == ("succeeded", 1)
    assert trainer.fits[job.job_id] == 1
    assert "PRECONDITION" not in worker.log.read_text()


def test_broker_that_restarts_during_a_training_costs_no_attempt(
    gateway: Gateway, trainer: TrainerDouble, start_worker: StartWorker, rabbitmq: Rabbit
) -> None:
    worker = start_worker()
    gate = trainer.gate("slow")
    job = gateway.submit("slow")
    gateway.wait_status(job, "running")
    with rabbitmq.stopped():
        wait_until(lambda: "broker.lost" in {line["action"] for line in worker.lines()}, "the worker has lost it")
    trainer.wait_for(job.job_id, 2)
    gate.set()
    ended = gateway.wait_ended(job)
    assert (ended.status, ended.attempts, len(trainer.versions)) == ("succeeded", 1, 1)
    assert gateway.terminal_events(job) == ["succeeded"]
    assert gateway.wait_ended(gateway.submit()).status == "succeeded"
    assert worker.process.poll() is None


def test_worker_needs_no_more_than_its_rights_at_the_broker(
    gateway: Gateway,
    trainer: TrainerDouble,
    start_worker: StartWorker,
    rabbitmq: Rabbit,
    config: settings.Settings,
    home: Path,
) -> None:
    rabbitmq.api("PUT", "/users/least", {"password": "p@ss:/1", "tags": ""})
    rabbitmq.api("PUT", f"/permissions/{config.broker.vhost}/least", provision.permissions("worker"))
    (home / "password").write_text("p@ss:/1\n")
    own = config.broker.model_copy(update={"user": "least", "password_file": home / "password"})
    worker = start_worker(config.model_copy(update={"broker": own}))
    trainer.gate("slow")
    good, poison, cancelled = gateway.submit("good"), gateway.submit("poison"), gateway.submit("slow")
    gateway.wait_status(cancelled, "running")
    gateway.ledger.jobs.request_cancel(cancelled.job_id, owner=None)
    assert [gateway.wait_ended(job).status for job in (good, poison, cancelled)] == ["succeeded", "failed", "cancelled"]
    wait_until(lambda: gateway.find(poison).dead_letter == "sent", "the dead letter is out")
    assert [line.split("\t")[0] for line in dead_letters.show(make_app(own), gateway.ledger)] == [poison.job_id]
    said = worker.log.read_text()
    assert "ACCESS_REFUSED" not in said
    assert "p@ss" not in said
    assert "p%40ss" not in said
    rabbitmq.api("DELETE", "/users/least")


def test_job_of_the_past_is_swept(
    gateway: Gateway, trainer: TrainerDouble, start_worker: StartWorker, config: settings.Settings
) -> None:
    brief = Retention(sweep_s=0.5, jobs_days=1e-6, datasets_days=1e-6)
    start_worker(config.model_copy(update={"retention": brief}))
    job = gateway.submit()
    wait_until(lambda: job.job_id not in _ids(gateway), "the job is forgotten", 30)
    assert trainer.versions


def _ids(gateway: Gateway) -> list[str]:
    found: list[rows.Job] = gateway.ledger.jobs.page(owner=None, model=None, status=None, before=None, limit=99)[0]
    return [job.job_id for job in found]
