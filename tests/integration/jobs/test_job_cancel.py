"""Cancelling at every phase: one terminal state, and no version after a job was called cancelled."""

from __future__ import annotations

import random
import sys
import time

import msgspec
import pytest

from api.ledger import rows
from tests.integration.jobs.conftest import Gateway
from tests.integration.jobs.trainer_double import TrainerDouble
from tests.integration.jobs.worker_process import WorkerProcess
from tests.jobs import new_job
from tests.rabbit import wait_until

THREADS = 4
"""What the double trains at once, and what the worker follows at once."""


def cancel(gateway: Gateway, job: rows.Job) -> rows.Job:
    return gateway.ledger.jobs.request_cancel(job.job_id, owner=None)


def check(gateway: Gateway, trainer: TrainerDouble, job: rows.Job) -> None:
    """The end of a job agrees with the volume, and is its only end."""
    ended = gateway.find(job)
    assert gateway.terminal_events(job) == [ended.status]
    assert (ended.status == "succeeded") == (job.job_id in trainer.versions)
    if ended.status == "succeeded":
        assert msgspec.json.decode(ended.result or "")["version"] == trainer.versions[job.job_id]


def test_training_that_runs_is_stopped(gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess) -> None:
    trainer.gate("slow")
    job = gateway.submit("slow")
    gateway.wait_status(job, "running")
    cancel(gateway, job)
    assert gateway.wait_ended(job).status == "cancelled"
    wait_until(lambda: job.job_id in trainer.stopped, "the trainer is told to stop")
    check(gateway, trainer, job)


def test_job_that_waits_for_a_trainer_is_cancelled(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess
) -> None:
    gate = trainer.gate("slow")
    busy = gateway.submit_all([new_job(model="slow") for _ in range(THREADS)])
    for job in busy:
        gateway.wait_status(job, "running")
    waiting = gateway.submit("waiting")
    assert cancel(gateway, waiting).status == "cancelled"
    gate.set()
    for job in busy:
        assert gateway.wait_ended(job).status == "succeeded"
    assert waiting.job_id not in trainer.fits
    check(gateway, trainer, waiting)


def test_job_whose_version_is_published_succeeds_in_spite_of_the_cancel(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess
) -> None:
    trainer.gate("late")
    job = gateway.submit("late")
    gateway.wait_status(job, "running")
    wait_until(lambda: job.job_id in trainer.versions, "the version is published")
    cancel(gateway, job)
    ended = gateway.wait_ended(job)
    assert (ended.status, ended.cancel_requested) == ("succeeded", True)
    assert msgspec.json.decode(ended.result or "")["promoted"] is True
    check(gateway, trainer, job)


def test_cancel_that_no_trainer_can_settle_waits_for_one(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess
) -> None:
    trainer.gate("slow")
    job = gateway.submit("slow")
    gateway.wait_status(job, "running")
    trainer.settling.clear()
    cancel(gateway, job)
    wait_until(lambda: gateway.find(job).holder is None, "the worker has given up asking", 20)
    assert gateway.find(job).status == "running"
    trainer.settling.set()
    assert gateway.wait_ended(job).status == "cancelled"
    check(gateway, trainer, job)


@pytest.mark.parametrize("model", ["flaky", "poison"])
def test_cancel_between_attempts_is_heard(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess, model: str
) -> None:
    job = gateway.submit(model)
    trainer.wait_for(job.job_id)
    cancel(gateway, job)
    assert gateway.wait_ended(job).status in ("cancelled", "succeeded")
    check(gateway, trainer, job)


def test_cancels_at_random_moments_end_each_job_once(
    gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess
) -> None:
    seed = random.randrange(2**32)
    sys.stderr.write(f"seed {seed}\n")
    dice = random.Random(seed)
    jobs = [gateway.submit(dice.choice(["good", "late", "flaky"])) for _ in range(40)]
    for job in dice.sample(jobs, 40):
        time.sleep(dice.uniform(0, 0.05))  # the moment is what is tried, nothing is waited for
        cancel(gateway, job)
    for job in jobs:
        assert gateway.wait_ended(job).status in ("cancelled", "succeeded")
        check(gateway, trainer, job)
