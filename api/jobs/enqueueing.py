"""Give a job's message to the broker and note in the ledger that it is kept; for the worker.

Between the ledger and the jobs queue. Where the broker does not confirm, the row stays
unconfirmed, and the reaper of some worker comes back to it.
"""

from __future__ import annotations

import celery

from api.jobs.celery_app import job_message
from api.ledger import Ledger
from wire import errors, logs, topology
from wire.client import RpcClient


class Enqueuer:
    """Publishes messages of jobs, confirmed, from any thread."""

    def __init__(self, app: celery.Celery, rpc: RpcClient, ledger: Ledger) -> None:
        self._app = app
        self._rpc = rpc
        self._ledger = ledger

    def enqueue(self, job_id: str, request_id: str) -> bool:
        """Publish and confirm; False when nobody keeps the message now. Never raises for want of a service."""
        message = job_message(self._app, job_id, request_id)
        try:
            self._rpc.publish(topology.JOBS, message.body, properties=message.properties)
            self._ledger.jobs.confirm(job_id)
        except errors.NotAnswered as error:
            logs.log("job.enqueued", level="WARNING", job_id=job_id, request_id=request_id, error=error.code)
            return False
        logs.log("job.enqueued", job_id=job_id, request_id=request_id)
        return True
