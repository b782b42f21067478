"""A ledger, a scripted trainer and real workers on a real broker, with short times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.jobs import accepting
from api.keys.callers import LOCAL
from api.ledger import Ledger, rows
from api.state import State
from tests.integration.jobs.replica import Replica
from tests.integration.jobs.trainer_double import TrainerDouble
from tests.integration.jobs.worker_process import WorkerProcess
from tests.jobs import new_job
from tests.rabbit import Rabbit, wait_until
from wire import settings, topology
from wire.async_client import AsyncRpcClient
from wire.retention import Retention


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def config(module_broker: settings.Broker, home: Path) -> settings.Settings:
    # What is still there must not count as lost when it, the broker or pytest stands still for some seconds.
    return settings.Settings(
        broker=module_broker,
        process=settings.Process(log_level="DEBUG", drain_s=10),
        ledger=settings.Ledger(url=f"sqlite:///{home}/ledger/ledger.sqlite3", timeout_s=10),
        train=settings.Train(silence_s=6, lease_renew_s=0.5, lease_stale_s=8, worker_threads=4, inspect_wait_s=20),
        paths=settings.Paths(datasets=home / "datasets"),
        retention=Retention(sweep_s=1),
    )


@pytest.fixture(scope="module")
def ledger(config: settings.Settings) -> Iterator[Ledger]:
    ledger = Ledger(config.ledger)
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def trainer(config: settings.Settings) -> Iterator[TrainerDouble]:
    trainer = TrainerDouble(config.broker).start()
    yield trainer
    trainer.stop()


@pytest.fixture(scope="module")
def worker(config: settings.Settings, home: Path) -> Iterator[WorkerProcess]:
    """One worker for all tests of a module that leave it alive."""
    worker = WorkerProcess(config, home / "logs").wait_ready()
    yield worker
    worker.close()


@pytest.fixture
def start_worker(config: settings.Settings, home: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Workers of the test's own."""
    started: list[WorkerProcess] = []

    def start(own: settings.Settings | None = None, **environment: str) -> WorkerProcess:
        started.append(WorkerProcess(own or config, home / "logs", **environment))
        return started[-1].wait_ready()

    yield start
    for worker in started:
        worker.close()


def ready_messages(rabbitmq: Rabbit, config: settings.Settings, queue: str) -> int:
    with rabbitmq.channel(config.broker.vhost) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


@pytest.fixture(autouse=True)
def empty_queues(rabbitmq: Rabbit, config: settings.Settings) -> None:
    with rabbitmq.channel(config.broker.vhost) as channel:
        for queue in (topology.JOBS, topology.TRAIN, topology.DEAD):
            channel.queue_purge(queue)


class Gateway:
    """What a replica does with a job, without HTTP; and what the ledger says about it."""

    def __init__(self, config: settings.Settings, ledger: Ledger) -> None:
        self.config = config
        self.ledger = ledger

    def submit(self, model: str = "good", **changed: Any) -> rows.Job:
        return self.submit_all([new_job(model=model, **changed)])[0]

    def submit_all(self, new: list[rows.NewJob]) -> list[rows.Job]:
        return asyncio.run(self._submit(new))

    async def _submit(self, new: list[rows.NewJob]) -> list[rows.Job]:
        rpc = AsyncRpcClient(self.config.broker, "api", "api")
        await rpc.start()
        try:
            assert await rpc.wait_connected(20)
            state = State(self.config, rpc, self.ledger, None)  # type: ignore[arg-type]
            return list(await asyncio.gather(*(accepting.accept(state, one, LOCAL) for one in new)))
        finally:
            await rpc.close()

    def find(self, job: rows.Job) -> rows.Job:
        return self.ledger.jobs.find(job.job_id, owner=None)

    def wait_status(self, job: rows.Job, *statuses: str, timeout_s: float = 40) -> rows.Job:
        wait_until(lambda: self.find(job).status in statuses, f"{job.model} is {statuses}", timeout_s)
        return self.find(job)

    def wait_ended(self, job: rows.Job, timeout_s: float = 40) -> rows.Job:
        return self.wait_status(job, *rows.ENDED, timeout_s=timeout_s)

    def terminal_events(self, job: rows.Job) -> list[str]:
        events = self.ledger.jobs.events(job.job_id, after=0, limit=10_000)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        return [event.name for event in events if event.name in rows.ENDED]


@pytest.fixture(scope="module")
def gateway(config: settings.Settings, ledger: Ledger) -> Gateway:
    return Gateway(config, ledger)


@pytest.fixture(scope="module")
def replicas(config: settings.Settings) -> Iterator[list[Replica]]:
    limits = settings.Limits(dataset_bytes=64 * 1024 * 1024, event_streams=3, queued_jobs=200)
    both = [Replica(config.model_copy(update={"limits": limits})).start() for _ in range(2)]
    yield both
    for replica in both:
        replica.stop()


@pytest.fixture
def client(replicas: list[Replica], ledger: Ledger) -> httpx.Client:
    """A client of the first replica, while nothing waits."""
    for job in ledger.jobs.page(owner=None, model=None, status="queued", before=None, limit=1000)[0]:
        ledger.jobs.request_cancel(job.job_id, owner=None)
    return replicas[0].client
