"""A worker's parts around one ledger and one broker in memory, and a ledger that is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.jobs.celery_app import make_app
from api.jobs.enqueueing import Enqueuer
from api.jobs.leases import LeaseKeeper
from api.jobs.task import JobTask
from api.ledger import Ledger, rows
from api.offline.attempt import Attempts
from api.offline.folder import OutputFolder
from tests.integration.jobs.trainer_double import TrainerDouble
from tests.jobs import new_job
from tests.rabbit import wait_until
from wire import errors, messages, settings, topology
from wire.memory import MemoryBroker


class Shop:
    """A worker's parts around one ledger and one broker in memory."""

    def __init__(self, home: Path) -> None:
        self.broker = MemoryBroker(settings.Broker(reconnect_max_s=0.1))
        self.ledger = Ledger(settings.Ledger(url=f"sqlite:///{home}/ledger.sqlite3"))
        self.ledger.migrate()
        self.rpc = self.broker.client("worker", "worker")
        self.rpc.start()
        assert self.rpc.wait_connected(10)
        self.stopping = threading.Event()
        self.keeper = LeaseKeeper(self.ledger.leases, 0.0)
        self._config = settings.Train(attempts=3, warm_wait_s=0.1)
        self._enqueuer = Enqueuer(make_app(self.broker.settings), self.rpc, self.ledger)
        config, outputs = settings.Settings(train=self._config), OutputFolder(home / "outputs")
        self._offline = Attempts(config, self.rpc, self.ledger.leases, outputs, self.stopping)
        self.task = self._task(self._config.silence_s)
        self.acknowledged: list[str] = []
        self._threads: list[threading.Thread] = []
        self._trainers: list[TrainerDouble] = []

    def _task(self, silence_s: float) -> JobTask:
        return JobTask(
            self._config.model_copy(update={"silence_s": silence_s}),
            self.ledger,
            self.rpc,
            self._enqueuer,
            self.keeper,
            offline=self._offline,
            name="w1",
            stopping=self.stopping,
        )

    def trainer(self, threads: int = 4) -> TrainerDouble:
        double = TrainerDouble(self.broker.settings, threads, server=self.broker.server("trainer", "trainer"))
        self._trainers.append(double)
        return double.start()

    def accepted(self, model: str = "good", **changed: Any) -> rows.Job:
        return self.ledger.jobs.accept(new_job(model=model, **changed), queued_limit=99)

    def run(self, job: rows.Job, task: JobTask | None = None) -> rows.Job:
        (task or self.task).run(job.job_id, lambda: self.acknowledged.append(job.job_id))
        return self.find(job)

    def begin(self, job: rows.Job, *, lost_s: float | None = None) -> threading.Thread:
        """Run it in a thread of its own, whose request counts as lost after ``lost_s`` seconds."""
        task = self.task if lost_s is None else self._task(lost_s / 3)
        thread = threading.Thread(target=self.run, args=(job, task))
        self._threads.append(thread)
        thread.start()
        return thread

    def find(self, job: rows.Job) -> rows.Job:
        return self.ledger.jobs.find(job.job_id, owner=None)

    def wait_status(self, job: rows.Job, status: str) -> None:
        wait_until(lambda: self.find(job).status == status, f"the job is {status}")

    def waiting(self) -> list[str]:
        """The jobs whose requests no trainer has taken yet."""
        with self.broker.lock:
            return [messages.TrainRequest.decode(one.body).job_id for one in self.broker.queues[topology.TRAIN].ready]

    def close(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(10)
        for trainer in self._trainers:
            trainer.stop()
        self.rpc.close()
        self.ledger.close()


def away(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, times: int) -> None:
    """The ledger is away for the next calls of one method."""
    real: Callable[..., Any] = getattr(owner, name)
    left = [times]

    def call(*arguments: Any, **keywords: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise errors.LedgerUnavailable
        return real(*arguments, **keywords)

    monkeypatch.setattr(owner, name, call)


def unheard(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """The ledger does what the next call of one method says, and goes away before it answers."""
    real: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        real(*arguments, **keywords)
        raise errors.LedgerUnavailable

    monkeypatch.setattr(owner, name, call)
