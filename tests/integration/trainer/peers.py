"""The trainer's neighbours in its tests: a worker that asks, and predictors that load."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from model_store import aliases, publishing, signing
from model_store import errors as store_errors
from model_store.manifest import Manifest
from model_store.volume import Volume
from wire import errors, messages, replies, settings, topology
from wire.client import ReplyStream, RpcClient
from wire.deadlines import Deadline
from wire.replies import Delivery
from wire.server import Request, RpcServer

WAIT_S = 30.0


class Predictor:
    """Says it is alive, and answers LoadVersion as it is told to."""

    def __init__(self, broker: settings.Broker, volume: Volume, name: str) -> None:
        self.name = name
        self.answers = True
        self.crashes = False
        self.error: errors.WarrenError | None = None
        self.loaded: list[tuple[str, int]] = []
        self.champion_at_load: list[int] = []
        self.forgotten: list[tuple[str, int]] = []
        self._volume = volume
        self._server = RpcServer(broker, "predictor", name)
        self._server.subscribe(topology.ANNOUNCE, self._hear)
        self._rpc = RpcClient(broker, "predictor", name)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def start(self) -> None:
        self._server.start()
        self._rpc.start()
        assert self._server.wait_ready(WAIT_S)
        assert self._rpc.wait_connected(WAIT_S)
        self._thread.start()

    def say(self, message: messages.Message) -> None:
        """Tell the trainers anything."""
        self._rpc.broadcast(topology.PRESENCE, message)

    def fall_silent(self) -> None:
        """As if it were frozen: no sign of life, no answer."""
        self.answers = False
        self._over.set()
        self._thread.join()

    def leave(self) -> None:
        """Say goodbye."""
        self.fall_silent()
        self._rpc.broadcast(topology.PRESENCE, messages.PredictorGone(predictor_id=self.name))

    def stop(self) -> None:
        self.fall_silent()
        self._server.stop(1)
        self._rpc.close()

    def _live(self) -> None:
        while True:
            self._rpc.broadcast(topology.PRESENCE, messages.PredictorAlive(predictor_id=self.name))
            if self._over.wait(0.1):
                return

    def _hear(self, request: Request) -> messages.Message | None:
        if request.kind == messages.ForgetVersion.TYPE:
            gone = messages.ForgetVersion.decode(request.body)
            self.forgotten.append((gone.model, gone.version))
            return None
        asked = messages.LoadVersion.decode(request.body)
        if not self.answers:
            return None
        if self.crashes:
            raise errors.InternalError
        self.loaded.append((asked.model, asked.version))
        self.champion_at_load.append(champion(self._volume, asked.model))
        error = self.error.to_body() if self.error else None
        return messages.VersionLoaded(predictor_id=self.name, model=asked.model, version=asked.version, error=error)


def champion(volume: Volume, model: str = "iris") -> int:
    try:
        return aliases.read_alias(volume, model, "champion").version
    except store_errors.StoreError:
        return 0


def publish(config: settings.Settings, job_id: str, model: str = "iris") -> int:
    """A version that is just there, without a training."""
    volume = Volume(config.paths.models)
    draft = publishing.draft(volume, model, job_id)
    (draft / "model.onnx").write_bytes(b"graph")
    manifest = Manifest(
        model=model,
        job_id=job_id,
        created_at="2026-01-01T00:00:00+00:00",
        estimator="Fake",
        task="regression",
        target="target",
        runtime="onnx",
        metrics={"accuracy": 0.5},
    )
    signer, verifier = signing.Signer(config.paths.signing_key_file), signing.Verifier(config.paths.verify_key_file)
    return publishing.publish(volume, draft, manifest, signer, verifier).version


class Worker:
    """Asks for trainings and changes, as the Celery worker and the replicas do."""

    def __init__(self, broker: settings.Broker) -> None:
        self.rpc = RpcClient(broker, "worker", "worker")
        self.rpc.start()
        assert self.rpc.wait_connected(WAIT_S)

    def request(self, model: str = "iris", job_id: str = "", **params: Any) -> messages.TrainRequest:
        promote = params.pop("promote", "if_better")
        dataset = params.pop("dataset", messages.DatasetRef(sample="iris"))
        return messages.TrainRequest(
            job_id=job_id or f"job-{uuid.uuid4().hex[:8]}",
            attempt=1,
            model=model,
            dataset=dataset,
            target="target",
            params=params,
            promote=promote,
            submitted_at="2026-01-01T00:00:00+00:00",
        )

    @contextmanager
    def training(self, request: messages.TrainRequest) -> Iterator[Training]:
        with self.rpc.stream(topology.TRAIN, request) as stream:
            yield Training(stream)

    def train(self, model: str = "iris", job_id: str = "", **params: Any) -> messages.TrainDone:
        with self.training(self.request(model, job_id, **params)) as training:
            return training.done()

    def change(self, message: messages.Message, expect: type[messages.M], wait_s: float = WAIT_S) -> messages.M:
        return self.rpc.call(topology.CHANGES, message, expect, deadline=Deadline.after(wait_s))

    def stop(self, job_id: str) -> None:
        self.rpc.broadcast(topology.STOP, messages.StopTraining(job_id=job_id))

    def close(self) -> None:
        self.rpc.close()


class Training:
    """The answers to one request for a training."""

    def __init__(self, stream: ReplyStream) -> None:
        self._stream = stream
        self.progress: list[messages.TrainProgress] = []

    def next(self, wait_s: float = WAIT_S) -> Delivery:
        delivery = self._stream.next(wait_s)
        if delivery.kind == messages.TrainProgress.TYPE:
            self.progress.append(messages.TrainProgress.decode(delivery.body))
        return delivery

    def until(self, stage: str, message: str = "") -> messages.TrainProgress:
        """Listen until it is there."""
        while True:
            delivery = self.next()
            assert delivery.kind == messages.TrainProgress.TYPE, delivery
            if self.progress[-1].stage == stage and (message in self.progress[-1].message):
                return self.progress[-1]

    def done(self) -> messages.TrainDone:
        """Listen to the end. Raises what a Failure carries."""
        while True:
            delivery = self.next()
            if delivery.kind != messages.TrainProgress.TYPE:
                return replies.read(delivery, messages.TrainDone)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
