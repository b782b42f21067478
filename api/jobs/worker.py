"""The Celery worker: ``python -m api.jobs.worker``. Takes jobs, follows them, keeps house.

Between the jobs queue and the trainers. One process: Celery's loop in the main thread, a thread
per followed job, wire's I/O thread, and the maintenance (leases, reaper, settling, dead letters,
descriptions, retention). Shutdown in this order: stop taking, give back what is followed, end the
maintenance, close. SIGTERM and SIGINT begin it.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import celery
from celery.exceptions import Reject
from celery.worker import WorkController
from celery.worker import state as celery_state

from api.datasets.files import DatasetFolder
from api.jobs.celery_app import TASK, make_app
from api.jobs.consumer import EarlyAckRequest, make_consumer
from api.jobs.dead_letters import DeadLetters
from api.jobs.enqueueing import Enqueuer
from api.jobs.leases import LeaseKeeper
from api.jobs.reaper import Reaper
from api.jobs.repeating import Repeating
from api.jobs.sweeping import Describer, Sweeper
from api.jobs.task import JobTask, LedgerGone
from api.ledger import Ledger
from api.ledger.migrating import NewerSchema
from api.offline.attempt import Attempts
from api.offline.folder import OutputFolder
from wire import errors, held_memory, logs, settings, telemetry, topology
from wire.client import RpcClient

_LOOK_S = 1.0
_KEEP_S = 0.5
_SETTLE_S = 2.0
_DESCRIBE_S = 15.0
_SETTLE_AT_MOST = 50
_UNWELL_S = 15.0
"""Seconds without one successful look at the ledger after which the worker is not ready."""

jobs_followed = telemetry.gauge("jobs_followed", "Jobs this worker follows now")
"""Leases held by this process."""


class Worker:
    """Everything one worker process has; ``run`` returns when it was told to stop and is done."""

    def __init__(self, config: settings.Settings) -> None:
        self._config = config
        self._name = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(3)}"
        self._stopping = threading.Event()
        self._ledger = Ledger(config.ledger)
        self._rpc = RpcClient(config.broker, "worker", "worker")
        app = make_app(config.broker)
        enqueuer = Enqueuer(app, self._rpc, self._ledger)
        self._outputs = OutputFolder(config.paths.predictions)
        self._keeper = LeaseKeeper(self._ledger.leases, config.train.lease_renew_s)
        self._task = JobTask(
            config.train,
            self._ledger,
            self._rpc,
            enqueuer,
            self._keeper,
            offline=Attempts(config, self._rpc, self._ledger.leases, self._outputs, self._stopping),
            name=self._name,
            stopping=self._stopping,
        )
        self._letters = DeadLetters(self._ledger, self._rpc)
        self._reaper = self._make_reaper(enqueuer)
        self._maintenance = self._make_maintenance()
        self._celery = self._make_celery(app)

    def _make_reaper(self, enqueuer: Enqueuer) -> Reaper:
        return Reaper(
            self._ledger,
            enqueue=enqueuer.enqueue,
            queued_messages=lambda: self._rpc.queue_state(topology.JOBS).messages,
            clock=time.monotonic,
            stale_s=self._config.train.lease_stale_s,
            attempts=self._config.train.attempts,
        )

    def _make_maintenance(self) -> dict[str, Repeating]:
        folder = DatasetFolder(self._config.paths.datasets)
        sweeper = Sweeper(self._ledger, folder, self._outputs, self._config.retention)
        actions: dict[str, tuple[float, Callable[[], object]]] = {
            "leases": (_KEEP_S, self._keep),
            "reaper": (_LOOK_S, self._reaper.look),
            "letters": (_LOOK_S, self._letters.send_due),
            "settling": (_SETTLE_S, self._settle),
            "describing": (_DESCRIBE_S, self._describe(Describer(self._ledger, self._rpc))),
            "retention": (self._config.retention.sweep_s, sweeper.sweep),
            "garbage": (held_memory.COLLECT_S, held_memory.collect),
        }
        return {name: Repeating(name, every_s, action) for name, (every_s, action) in actions.items()}

    def _make_celery(self, app: celery.Celery) -> Any:
        add_task(app, self._task.run)
        # Celery would remember a thousand tasks that ended well, to know them again; here the ledger does.
        celery_state.successful_requests.maxlen = 1
        return WorkController(
            app=app,
            hostname=f"warren@{self._name}",
            pool_cls="threads",
            concurrency=self._config.train.worker_threads,
            consumer_cls=make_consumer(self._letters.bury),
            task_events=False,
        )

    def run(self) -> None:
        """Work until SIGTERM or SIGINT."""
        held_memory.share_arenas()
        self._ledger.migrate()
        self._rpc.start()
        probe = telemetry.start_probe_server(self._config.process, self._lacking)
        held_memory.settle(busy=False)
        for repeating in self._maintenance.values():
            repeating.start()
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        logs.log("process.started", port=probe.port, name=self._name)
        try:
            self._celery.start()
        finally:
            self._stopping.set()
            self._close()
            probe.close()
            logs.log("process.stopped")

    def _stop(self, *_: object) -> None:
        self._stopping.set()
        celery_state.should_stop = os.EX_OK

    def _close(self) -> None:
        for name, repeating in self._maintenance.items():
            if name != "leases":
                repeating.stop(self._config.process.drain_s)
        self._maintenance["leases"].stop(self._config.process.drain_s)
        self._rpc.close()
        self._ledger.close()

    def _keep(self) -> None:
        jobs_followed.set(self._keeper.count)
        self._keeper.look()

    def _settle(self) -> None:
        for job in self._ledger.watching.to_settle(_SETTLE_AT_MOST):
            if self._stopping.is_set():
                return
            self._task.settle(job.job_id)

    def _describe(self, describer: Describer) -> Callable[[], None]:
        def action() -> None:
            while not self._stopping.is_set() and describer.describe_next():
                pass

        return action

    def _lacking(self) -> dict[str, str]:
        lacking = {}
        if not self._rpc.connected:
            lacking["broker"] = "not connected"
        consumer = getattr(self._celery, "consumer", None)
        if getattr(consumer, "connection", None) is None:
            lacking["jobs"] = "does not consume the jobs queue"
        if self._maintenance["reaper"].idle_s > _UNWELL_S:
            lacking["ledger"] = "does not answer"
        if self._stopping.is_set():
            lacking["process"] = "is stopping"
        return lacking


def add_task(app: celery.Celery, run: Callable[[str, Callable[[], None]], None]) -> None:
    """Register the one task; ``run(job_id, acknowledge)`` follows the job."""

    @app.task(name=TASK, bind=True, acks_late=True, ignore_result=True, Request=EarlyAckRequest)  # type: ignore[untyped-decorator]
    def follow(self: Any, job_id: str) -> None:
        if not isinstance(job_id, str):
            logs.log("job.dropped", level="ERROR", job_id="")
            return
        try:
            run(job_id, self.request.acknowledge_message)
        except LedgerGone as error:
            raise Reject(requeue=True) from error
        except errors.WarrenError:
            logs.log("job.dropped", level="ERROR", job_id=job_id, exc_info=True)

    app.finalize()


def main() -> None:
    """The process."""
    config = settings.load()
    logs.configure("worker", config.process.log_level)
    # Each job says what becomes of it in lines of ours; Celery's own two per task add nothing.
    for chatty in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        Worker(config).run()
    except NewerSchema as error:
        logs.log("ledger.failed", level="ERROR", problem=error.message)
        sys.exit(1)


if __name__ == "__main__":
    main()
