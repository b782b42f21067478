"""Every exchange and queue of the gateway, declared in one place.

Between all arrows of the flow. A process never declares shared objects: the broker imports
``definitions()`` at boot (tests call ``wire.provision.declare``). A process declares only its
own exclusive reply and inbox queues. Names carry a version: RabbitMQ answers a redeclaration
with other arguments by closing the channel (406), so changed arguments mean a new name.

Queues are classic and durable: Celery insists on extra queues for quorum queues, RabbitMQ 4.3
refuses transient shared ones, and a single node gains nothing from a quorum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["api", "worker", "trainer", "predictor"]
ROLES: tuple[Role, ...] = ("api", "worker", "trainer", "predictor")
"""Every kind of process that connects to the broker; each has a user of its own."""

JOBS = "warren.jobs.v1"
"""Celery's queue: one message per accepted job."""
TRAIN = "warren.train.v1"
"""RPC: worker asks a trainer to fit and publish."""
INSPECT = "warren.inspect.v1"
"""RPC: a dataset is profiled by a trainer, on a queue no training blocks."""
TABLES = "warren.tables.v1"
"""RPC: tables of offline predictions are read and written by a trainer, on a queue no training blocks."""
CHANGES = "warren.changes.v1"
"""RPC: aliases, deletions, settlements; one active consumer, so changes have one order."""
PREDICT = "warren.predict.v1"
"""RPC: batches of live predictions."""
BULK = "warren.bulk.v1"
"""RPC: blocks of rows of offline predictions, taken by predictors while no live ones come."""
MODELS = "warren.models.v1"
"""RPC: reads of models, versions and their files, answered by a predictor."""
DEAD = "warren.dead.v1"
"""What could not be read or failed for good; people read it with the worker's rights, and believe no letter more
than the ledger. The oldest ones make room for new ones."""
REPLY = "warren.reply.v1"
"""Direct exchange: replies to per-process queues ``reply.<role>.<id>``."""
STOP = "warren.stop.v1"
"""Fanout to every trainer: kill the child that runs this job."""
ANNOUNCE = "warren.announce.v1"
"""Fanout to every predictor: a version is there to be loaded, or has gone."""
PRESENCE = "warren.presence.v1"
"""Fanout from every predictor to every trainer: I am alive and serve."""


@dataclass(frozen=True)
class Exchange:
    """An exchange, who publishes to it, and who binds queues of its own to it."""

    name: str
    kind: Literal["direct", "fanout"]
    writers: tuple[Role, ...]
    binders: tuple[Role, ...] = ()


@dataclass(frozen=True)
class Queue:
    """A durable shared queue, bound to the direct exchange of the same name with its own name as key."""

    name: str
    readers: tuple[Role, ...]
    arguments: dict[str, str | int | bool] = field(default_factory=dict)


_REJECT = {"x-overflow": "reject-publish"}
PREDICT_BOUND = 5_000
"""Batches that may wait in the predict queue."""
MAX_MESSAGE_BYTES = 12 * 1024 * 1024
"""Largest body of a message: what rabbitmq.conf sets. The broker closes the channel of whoever sends a larger one."""

EXCHANGES: tuple[Exchange, ...] = (
    Exchange(JOBS, "direct", ("api", "worker")),
    Exchange(TRAIN, "direct", ("worker",)),
    Exchange(INSPECT, "direct", ("api", "worker")),
    Exchange(TABLES, "direct", ("worker",)),
    Exchange(CHANGES, "direct", ("api", "worker", "trainer")),
    Exchange(PREDICT, "direct", ("api",)),
    Exchange(BULK, "direct", ("worker",)),
    Exchange(MODELS, "direct", ("api", "trainer")),
    Exchange(DEAD, "direct", ("worker", "trainer", "predictor")),
    Exchange(REPLY, "direct", ("trainer", "predictor"), ("api", "worker", "trainer")),
    Exchange(STOP, "fanout", ("worker",), ("trainer",)),
    Exchange(ANNOUNCE, "fanout", ("trainer",), ("predictor",)),
    Exchange(PRESENCE, "fanout", ("predictor",), ("trainer",)),
)
"""Every exchange, and who may publish to it."""

QUEUES: tuple[Queue, ...] = (
    Queue(JOBS, ("worker", "api"), {"x-max-length": 100_000, **_REJECT}),
    Queue(TRAIN, ("trainer",), {"x-max-length": 10_000, **_REJECT}),
    Queue(INSPECT, ("trainer",), {"x-max-length": 1_000, **_REJECT}),
    Queue(TABLES, ("trainer",), {"x-max-length": 1_000, **_REJECT}),
    Queue(CHANGES, ("trainer",), {"x-max-length": 1_000, "x-single-active-consumer": True, **_REJECT}),
    Queue(PREDICT, ("predictor",), {"x-max-length": PREDICT_BOUND, **_REJECT}),
    Queue(BULK, ("predictor",), {"x-max-length": 1_000, **_REJECT}),
    Queue(MODELS, ("predictor",), {"x-max-length": 1_000, **_REJECT}),
    Queue(DEAD, ("worker",), {"x-max-length": 10_000}),
)
"""Every shared queue, and who may read it."""


def reply_queue(role: Role, process_id: str) -> str:
    """The name of a process's own reply queue; ``process_id`` is new for every connection."""
    return f"reply.{role}.{process_id}"


def inbox_queue(role: Role, process_id: str) -> str:
    """The name of a process's own queue behind a fanout exchange."""
    return f"inbox.{role}.{process_id}"
