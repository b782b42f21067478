"""A worker's parts for predictions of whole datasets: a real ledger and folder, and wire's own broker in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.jobs.celery_app import make_app
from api.jobs.enqueueing import Enqueuer
from api.jobs.leases import LeaseKeeper
from api.jobs.task import JobTask
from api.ledger import Ledger, rows
from api.offline.attempt import Attempts
from api.offline.folder import OutputFolder
from api.offline.order import KIND, Order
from tests.jobs import new_job
from tests.unit.api_offline.test_window import Predictor, echo
from wire import errors, messages, row_blocks, settings, topology
from wire.memory import MemoryBroker
from wire.row_blocks import Block, Refused
from wire.server import Request

DATASET = "d" * 32


class Tables:
    """A trainer that writes the rows it is told to, and a file in place of Parquet."""

    def __init__(self, broker: MemoryBroker, root: Path) -> None:
        self.blocks = [Block(2, b"[[1],[2]]"), Block(2, b"[[3]]", b"", (Refused(0, "x must be a number"),))]
        self.failure: errors.WarrenError | None = None
        self.before: Callable[[], Any] = lambda: None
        self.said_rows: int | None = None
        self.asked: list[str] = []
        self.stopped: list[str] = []
        self._root = root
        self.server = broker.server("trainer", "trainer")
        self.server.serve(topology.TABLES, self._handle, prefetch=1)
        self.server.subscribe(topology.STOP, self._stop)
        self.server.start()
        assert self.server.wait_ready(5)

    def _handle(self, request: Request) -> messages.Message:
        self.asked.append(request.kind)
        self.before()
        request.reply(messages.TrainProgress(job_id="j", fraction=0.5, stage="reading"))
        if self.failure is not None:
            raise self.failure
        if request.kind == messages.ReadRows.TYPE:
            asked = messages.ReadRows.decode(request.body)
            with (self._root / ".tmp" / asked.draft / row_blocks.FILE).open("wb") as file:
                for block in self.blocks:
                    row_blocks.write(file, block)
            total = sum(block.total for block in self.blocks) if self.said_rows is None else self.said_rows
            return messages.RowsRead(job_id=asked.job_id, rows=total, refused=1)
        written = messages.WriteParquet.decode(request.body)
        assert [column.name for column in written.columns] == ["prediction", "error"]
        (self._root / ".tmp" / written.draft / "output.parquet").write_bytes(b"PAR1")
        return messages.ParquetWritten(job_id=written.job_id, size_bytes=4)

    def _stop(self, request: Request) -> None:
        self.stopped.append(messages.StopTraining.decode(request.body).job_id)


class Shop:
    """A worker's parts around one ledger, one folder and one broker in memory."""

    def __init__(self, home: Path) -> None:
        self.broker = MemoryBroker(settings.Broker(reconnect_max_s=0.1))
        self.ledger = Ledger(settings.Ledger(url=f"sqlite:///{home}/ledger.sqlite3"))
        self.ledger.migrate()
        self.rpc = self.broker.client("worker", "worker")
        self.rpc.start()
        assert self.rpc.wait_connected(10)
        self.stopping = threading.Event()
        self.folder = OutputFolder(home / "predictions")
        self.keeper = LeaseKeeper(self.ledger.leases, 0.0)
        config = settings.Settings(train=settings.Train(attempts=2))
        self.attempts = Attempts(config, self.rpc, self.ledger.leases, self.folder, self.stopping)
        self.task = JobTask(
            config.train,
            self.ledger,
            self.rpc,
            Enqueuer(make_app(self.broker.settings), self.rpc, self.ledger),
            self.keeper,
            offline=self.attempts,
            name="w1",
            stopping=self.stopping,
        )
        self.tables = Tables(self.broker, self.folder.root)
        self.predictor = Predictor(self.broker, lambda found, request: self.say(found, request))
        self.say: Callable[[list[Any], Request], Any] = echo

    def accepted(self) -> rows.Job:
        order = Order(model="m", version=7, dataset_id=DATASET, features={})
        return self.ledger.jobs.accept(new_job(kind=KIND, model="m", request=order.encode()), queued_limit=9)

    def run(self, job: rows.Job) -> rows.Job:
        self.task.run(job.job_id, lambda: None)
        return self.find(job)

    def find(self, job: rows.Job) -> rows.Job:
        return self.ledger.jobs.find(job.job_id, owner=None)

    def left(self) -> list[str]:
        return [str(path.relative_to(self.folder.root)) for path in self.folder.root.rglob("*") if path.is_file()]

    def close(self) -> None:
        self.stopping.set()
        self.tables.server.stop(1)
        self.predictor.server.stop(1)
        self.rpc.close()
        self.ledger.close()
