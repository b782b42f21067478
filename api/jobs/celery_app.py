"""The Celery application: how the message of a job is formed, and how a worker consumes it.

Between the replica that accepts a job and the worker that follows it. Celery is told to declare
nothing, to keep no results and to talk to no other worker: its rights at the broker are those of
``wire.topology``, RabbitMQ 4.3 refuses the shared transient queues its remote control needs, and
the ledger is the only place that knows a job's state.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

import celery
import pika
from kombu import serialization
from kombu.entity import Exchange, Queue

from wire import settings, topology

TASK = "warren.follow"
"""The one task: follow the training of a job, given by its id."""


class JobMessage(NamedTuple):
    """A Celery message of the jobs queue, ready for wire's confirmed publisher."""

    body: bytes
    properties: pika.BasicProperties


def make_app(broker: settings.Broker) -> celery.Celery:
    """The application of one process. The broker's password is read here and stays in memory."""
    app = celery.Celery("warren", set_as_current=False, loader="app")
    exchange = Exchange(topology.JOBS, "direct", no_declare=True)
    queue = Queue(topology.JOBS, exchange, routing_key=topology.JOBS, no_declare=True)
    app.conf.update(
        broker_url=_url(broker),
        broker_heartbeat=broker.heartbeat_s,
        broker_connection_timeout=broker.connect_timeout_s,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker outlives any outage of the broker
        broker_pool_limit=1,
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_queues=[queue],
        task_create_missing_queues=False,
        task_default_queue=topology.JOBS,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_disable_rate_limits=True,
        worker_enable_prefetch_count_reduction=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
    )
    return app


def job_message(app: celery.Celery, job_id: str, request_id: str) -> JobMessage:
    """The message that asks some worker to follow a job, as Celery's own protocol 2 forms it."""
    message = app.amqp.as_task_v2(job_id, TASK, args=(job_id,), root_id=job_id, ignore_result=True)
    content_type, encoding, body = serialization.dumps(message.body, serializer="json")
    properties = pika.BasicProperties(
        content_type=content_type,
        content_encoding=encoding,
        correlation_id=job_id,
        type=TASK,
        headers={**message.headers, "request_id": request_id},
    )
    return JobMessage(body.encode() if isinstance(body, str) else body, properties)


def _url(broker: settings.Broker) -> str:
    password = "guest" if broker.password_file is None else broker.password_file.read_text().strip()
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    login = f"{quote(broker.user, safe='')}:{quote(password, safe='')}"
    return f"pyamqp://{login}@{host}:{broker.port}/{quote(broker.vhost, safe='')}"
