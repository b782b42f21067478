"""The capacity model: pure functions from measured costs to throughput and machines.

The law of demand (Denning and Buzen, 1978): a resource that every request needs for D seconds
serves at most 1/D a second. A request's D in a process has a part that its message shares with
all that travel in it and a part of its own: D(b) = a / b + c for b requests in a message.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

TARGET = 0.6
"""How busy anything is planned to be: above it waiting grows faster than throughput."""
MACHINE_CORES = 8
"""Cores of the machines that are planned with."""
NIC_MBIT_S = 1_000.0
"""What their network takes in each direction, in Mbit/s."""


@dataclass(frozen=True)
class Cost:
    """Microseconds of CPU in one kind of process: ``message_us`` per message and ``request_us`` per request."""

    message_us: float
    request_us: float

    def at(self, batch: float) -> float:
        """Microseconds per request when ``batch`` requests share a message."""
        return self.message_us / batch + self.request_us


@dataclass(frozen=True)
class Level:
    """One measurement: what ``connections`` clients got, and microseconds of CPU per request by process.

    ``batch`` is the mean number of requests in a message; ``replicas`` how many replicas there were, and
    ``asked`` how many of them got the load; ``foreign_cores`` how many cores somebody else used meanwhile.
    """

    connections: int
    replicas: int
    asked: int
    predictors: int
    requests_per_s: float
    p50_ms: float
    batch: float
    us: dict[str, float]
    foreign_cores: float = 0.0


@dataclass(frozen=True)
class Queue:
    """What one queue took, in messages a second.

    ``single_per_s``: messages of one request. ``batched_per_s``: messages of BATCH requests.
    ``connection_per_s``: one publisher and one consumer. ``own_share``: the share of a core that
    the queue's own Erlang process used at ``single_per_s``.
    """

    single_per_s: float
    batched_per_s: float
    connection_per_s: float
    own_share: float

    BATCH = 32

    @property
    def limit_per_s(self) -> float:
        """Messages a second at which the queue's process fills a core, were the broker's cores never short."""
        return self.single_per_s / max(self.own_share, 1e-3)


@dataclass(frozen=True)
class Processes:
    """What computes at a rate, nothing busier than TARGET: whole processes, and shares of cores."""

    replicas: int
    predictors: int
    nginx_cores: float
    broker_cores: float


@dataclass(frozen=True)
class Plan:
    """What a rate needs; ``use`` says how full the four things are that more processes don't widen, as shares.

    ``unbatched`` is what computes where every request is a message, ``shards_without_batches`` the queues then.
    """

    rate: int
    batch: float
    needed: Processes
    unbatched: Processes
    messages_per_s: float
    client_mbit_s: float
    broker_mbit_s: float
    machines: int
    broker_nodes: int
    shards_without_batches: int
    use: dict[str, float]

    @property
    def first(self) -> str:
        """What saturates first of them when the rate grows from here."""
        return max(self.use, key=lambda name: self.use[name])


def fit(levels: Sequence[Level]) -> dict[str, Cost]:
    """The cost of each process from its measurements, least squares of the relative error, nothing negative."""
    costs = {}
    for name in levels[0].us:
        wanted = np.array([max(level.us[name], 1e-3) for level in levels])
        shared = np.array([1 / level.batch for level in levels])
        table = np.column_stack([shared, np.ones(len(levels))]) / wanted[:, None]
        message_us, request_us = np.linalg.lstsq(table, np.ones(len(levels)), rcond=None)[0]
        if request_us < 0:
            message_us, request_us = float(np.sum(table[:, 0]) / np.sum(table[:, 0] ** 2)), 0.0
        if message_us < 0:
            message_us, request_us = 0.0, float(np.sum(table[:, 1]) / np.sum(table[:, 1] ** 2))
        costs[name] = Cost(float(message_us), float(request_us))
    return costs


def batch_share(levels: Sequence[Level]) -> float:
    """Which share of a replica's clients travels in one message, on average, when it is busy."""
    return float(np.mean([level.batch * level.asked / level.connections for level in levels]))


def throughput(
    costs: Mapping[str, Cost], cores: float, connections: int, asked: int, predictors: int, share: float
) -> float:
    """Requests a second that ``connections`` clients should get from one machine that they share.

    Bounded by the machine's cores, and by the replicas that are asked and the predictors, which compute
    on one core each.
    """
    batch = max(1.0, share * connections / asked)
    everything_us = sum(cost.at(batch) for cost in costs.values())
    bounds = (
        cores / everything_us,
        asked / costs["replicas"].at(batch),
        predictors / costs["predictors"].at(batch),
    )
    return 1e6 * min(bounds)


def plan(
    rate: int, costs: Mapping[str, Cost], trip_s: float, queue: Queue, bytes_client: float, bytes_broker: float
) -> Plan:
    """What ``rate`` predictions a second of one popular model need.

    ``trip_s``: a message's way there and back, in seconds; what arrives meanwhile shares the next
    one. ``bytes_client`` and ``bytes_broker``: larger direction of a request's bytes on either side.
    """
    batch, needed = _batched(rate, costs, trip_s)
    messages = rate / batch
    client_mbit, broker_mbit = rate * bytes_client * 8e-6, rate * bytes_broker * 8e-6
    cores = needed.replicas + needed.predictors + needed.nginx_cores
    use = {
        "queue": messages / queue.limit_per_s,
        "broker": needed.broker_cores * TARGET / MACHINE_CORES,
        "connection": messages / needed.replicas / queue.connection_per_s,
        "network": max(client_mbit, broker_mbit) / NIC_MBIT_S,
    }
    return Plan(
        rate,
        batch,
        needed,
        processes(rate, costs, 1.0),
        messages,
        client_mbit,
        broker_mbit,
        max(2, math.ceil(cores / MACHINE_CORES)),
        max(1, math.ceil(needed.broker_cores / MACHINE_CORES)),
        math.ceil(rate / (TARGET * queue.limit_per_s)),
        use,
    )


def processes(rate: int, costs: Mapping[str, Cost], batch: float) -> Processes:
    """What ``rate`` requests a second need when ``batch`` of them share a message; at least two of each process."""
    cores = {name: rate * cost.at(batch) / 1e6 / TARGET for name, cost in costs.items()}
    replicas, predictors = (max(2, math.ceil(cores[name])) for name in ("replicas", "predictors"))
    return Processes(replicas, predictors, cores["nginx"], cores["broker"])


def _batched(rate: int, costs: Mapping[str, Cost], trip_s: float) -> tuple[float, Processes]:
    """Requests in a message, and what computes: more replicas share fewer requests in each message."""
    replicas = 2
    for _ in range(50):
        batch = max(1.0, rate / replicas * trip_s)
        needed = processes(rate, costs, batch)
        if needed.replicas <= replicas:
            break
        replicas += 1 if needed.replicas < replicas * 1.1 else (needed.replicas - replicas + 1) // 2
    return batch, replace(needed, replicas=replicas)
