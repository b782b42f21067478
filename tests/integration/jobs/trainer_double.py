"""A trainer that follows a script: real messages over the real broker, no fitting.

What a request does is said by its model's name. Its "volume" keeps versions and tombstones by
job, as the real one does, so that settling and repeated deliveries mean what they mean there.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.rabbit import wait_until
from wire import errors, messages, settings, topology
from wire.server import Request, RpcServer

ALIVE_S = 0.1


class TrainerDouble:
    """Serves TRAIN, CHANGES, INSPECT and STOP."""

    def __init__(self, broker: settings.Broker, threads: int = 4, server: RpcServer | None = None) -> None:
        self.versions: dict[str, int] = {}
        self.tombstones: set[str] = set()
        self.requests: list[messages.TrainRequest] = []
        self.fits: Counter[str] = Counter()
        self.stopped: list[str] = []
        self.failures: list[errors.WarrenError] = []
        self.gates: dict[str, threading.Event] = {}
        self.settling = threading.Event()
        self.settling.set()
        self._lock = threading.Lock()
        self._ends: dict[str, threading.Event] = {}
        self._server = server or RpcServer(broker, "trainer", "trainer")
        self._server.serve(topology.TRAIN, self._train, prefetch=threads, threads=threads)
        self._server.serve(topology.CHANGES, self._settle, prefetch=1)
        self._server.serve(topology.INSPECT, self._inspect, prefetch=1)
        self._server.subscribe(topology.STOP, self._stop)
        self.profile: Callable[[str], messages.DatasetProfile] = _profile

    def start(self) -> TrainerDouble:
        self._server.start()
        assert self._server.wait_ready(20)
        return self

    def stop(self) -> None:
        for gate in [*self.gates.values(), *self._ends.values()]:
            gate.set()
        self.settling.set()
        self._server.stop(2)

    def gate(self, model: str) -> threading.Event:
        """Trainings of this model last until the event is set."""
        return self.gates.setdefault(model, threading.Event())

    def wait_for(self, job_id: str, attempts: int = 1) -> None:
        def asked() -> bool:
            return sum(request.job_id == job_id for request in self.requests) >= attempts

        wait_until(asked, f"the trainer is asked {attempts} times for {job_id}", 30)

    # ------------------------------------------------------------------ handlers

    def _train(self, request: Request) -> messages.TrainDone | None:
        train = messages.TrainRequest.decode(request.body)
        self.requests.append(train)
        with self._lock:
            if train.job_id in self.tombstones:
                raise errors.Cancelled
            version = self.versions.get(train.job_id, 0)
        if version:
            return _done(train, version)
        request.ack()
        self.fits[train.job_id] += 1
        kind = train.model.split("-")[0]
        if kind == "forgotten" and self.fits[train.job_id] < 2:
            return None
        if self.failures:
            raise self.failures.pop()
        if kind == "garbled":
            request.reply_raw(b"{}", "from.the.future")
            request.reply_raw(b"{", messages.TrainDone.TYPE)
            return None
        if kind == "unasked":
            raise errors.Cancelled
        if kind == "input":
            raise errors.TrainingFailed("The target has a single class.")
        if kind == "poison":
            raise errors.InternalError("The training process ended before it was done.")
        if kind == "flaky" and self.fits[train.job_id] < 2:
            raise errors.InternalError
        request.reply(messages.TrainProgress(job_id=train.job_id, fraction=0.1, stage="fitting"))
        if kind == "silent" and self.fits[train.job_id] < 2:
            return None
        if kind == "late":
            done = self._publish(train)
            self._wait(train, request)
            return done
        self._wait(train, request)
        return self._publish(train)

    def _wait(self, train: messages.TrainRequest, request: Request) -> None:
        gate, end = self.gates.get(train.model), self._ends.setdefault(train.job_id, threading.Event())
        until = time.monotonic() + 100
        while gate is not None and not gate.is_set() and time.monotonic() < until:
            if end.wait(ALIVE_S) and train.job_id not in self.versions:
                raise errors.Cancelled
            request.reply(messages.TrainProgress(job_id=train.job_id, fraction=0.5, stage="fitting"))

    def _publish(self, train: messages.TrainRequest) -> messages.TrainDone:
        with self._lock:
            if train.job_id in self.tombstones:
                raise errors.Cancelled
            version = self.versions.setdefault(train.job_id, len(self.versions) + 1)
        return _done(train, version)

    def _settle(self, request: Request) -> messages.Settled:
        settle = messages.Settle.decode(request.body)
        self.settling.wait(60)
        with self._lock:
            version = self.versions.get(settle.job_id, 0)
            if not version:
                self.tombstones.add(settle.job_id)
        return messages.Settled(job_id=settle.job_id, version=version, metrics={"accuracy": 0.9})

    def _inspect(self, request: Request) -> messages.DatasetProfile:
        return self.profile(messages.InspectRequest.decode(request.body).dataset_id)

    def _stop(self, request: Request) -> None:
        job_id = messages.StopTraining.decode(request.body).job_id
        self.stopped.append(job_id)
        self._ends.setdefault(job_id, threading.Event()).set()


def _done(train: messages.TrainRequest, version: int) -> messages.TrainDone:
    return messages.TrainDone(
        job_id=train.job_id,
        model=train.model,
        version=version,
        metrics={"accuracy": 0.9},
        promoted=True,
        promotion_reason="The first version.",
    )


def _profile(_: str) -> messages.DatasetProfile:
    column = messages.ColumnProfile(name="a", type="number", missing=0, distinct=2)
    target = messages.ColumnProfile(name="target", type="text", missing=0, distinct=2)
    return messages.DatasetProfile(rows=2, columns=(column, target))
