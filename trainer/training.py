"""Trainings, one at a time: from a request on topology.TRAIN to one published version.

The fit runs in a child process (a fork, so that the next one need not load its libraries again), so
heartbeats go on, a cancel can kill it, and its memory has a bound. The request is acknowledged once
the child runs: from then on the worker's lease protects the job, however long it takes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from model_store import aliases, drafts, job_index, names, publishing
from model_store import errors as store
from model_store.manifest import Manifest
from model_store.signing import Signer, Verifier
from model_store.volume import Volume
from trainer import dataset_files
from trainer.child_process import Child
from trainer.forking import ForkServer
from trainer.promotion import Promoter
from trainer.pulse import Pulse
from trainer.spec import ChildProgress, ChildResult, ChildSpec, Comparison, Trained
from trainer.store_errors import translated
from wire import errors, logs, messages, settings, telemetry
from wire.deadlines import Deadline
from wire.server import Request, Subscription

CHILD_MODULE = "trainer.child"
"""What fits; its ``main`` gets the draft's folder."""

_POLL_S = 0.1
_FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")
_MEMORY_WORDS = ("MemoryError", "bad_alloc", "Unable to allocate", "Cannot allocate memory")

trainings = telemetry.counter("trainings", "Trainings that ended", ["outcome"])
"""By outcome: ``published``, ``existing``, or the code of the error."""
training_seconds = telemetry.histogram(
    "training_seconds", "Seconds from a request to its end", buckets=(1, 2, 5, 10, 30, 60, 300, 1800, 7200)
)
"""How long trainings took."""
training_now = telemetry.gauge("training_now", "1 while a training runs")
"""Whether this trainer is busy."""


@dataclass
class Active:
    """The training that runs now; ``stop`` is set to end it, ``deaf`` once it is too late for that."""

    job_id: str
    stop: threading.Event = field(default_factory=threading.Event)
    deaf: bool = False


class Trainings:
    """Handles topology.TRAIN and topology.STOP.

    ``subscription`` is that to TRAIN, to be set before it starts: it pauses while a training runs.
    """

    subscription: Subscription

    def __init__(
        self,
        config: settings.Settings,
        signer: Signer,
        verifier: Verifier,
        promoter: Promoter,
        child_module: str = CHILD_MODULE,
    ) -> None:
        self._config = config
        self._volume = Volume(config.paths.models)
        self._signer = signer
        self._verifier = verifier
        self._promoter = promoter
        self._children = ForkServer(child_module, config.train.warm_s)
        self._active: Active | None = None
        self._closing: Deadline | None = None

    def close(self, deadline: Deadline) -> None:
        """Let the running training go on until ``deadline``, then end it; for the process's own stop."""
        self._closing = deadline

    def end(self) -> None:
        """End what is kept for the next training; once none runs any more."""
        self._children.close()

    def stop(self, request: Request) -> None:
        """End the training of a job, if it runs here (topology.STOP)."""
        job_id = messages.StopTraining.decode(request.body).job_id
        active = self._active
        if active is not None and active.job_id == job_id:
            logs.log("train.stopped", job_id=job_id)
            active.stop.set()

    def handle(self, request: Request) -> messages.TrainDone:
        """Train once for the request's job. Raises what the worker should know."""
        train = messages.TrainRequest.decode(request.body)
        active = self._active = Active(train.job_id)
        self.subscription.pause()
        training_now.set(1)
        try:
            with training_seconds.time(), translated(), self._pulse(train, request) as pulse:
                return self._train(train, request, active, pulse)
        except errors.WarrenError as error:
            trainings.labels(error.code).inc()
            logs.log("train.failed", level="WARNING", job_id=train.job_id, model=train.model, error=error.code)
            raise
        finally:
            training_now.set(0)
            self._active = None
            if self._closing is None:
                self.subscription.resume()

    def _pulse(self, train: messages.TrainRequest, request: Request) -> Pulse:
        return Pulse(train.job_id, self._config.train.alive_s, request.reply)

    def _train(
        self, train: messages.TrainRequest, request: Request, active: Active, pulse: Pulse
    ) -> messages.TrainDone:
        version = publishing.existing_version(
            self._volume, train.model, train.job_id, self._verifier, train.submitted_at
        )
        outcome = "existing" if version else "published"
        if version is None:
            draft = publishing.draft(self._volume, train.model, train.job_id)
            try:
                manifest = self._fitted(train, request, draft, active, pulse)
                active.deaf = True
                pulse.say(1.0, "publishing")
                published = publishing.publish(
                    self._volume, draft, manifest, self._signer, self._verifier, train.submitted_at
                )
            finally:
                drafts.discard(draft)
        else:
            active.deaf = True
            published = publishing.published(self._volume, train.model, version, self._verifier)
        logs.log("model.published", model=train.model, version=published.version, job_id=train.job_id)
        pulse.say(1.0, "warming")
        done = self._promoter.finish(train, published.version, published.manifest, lambda: self._check(active))
        trainings.labels(outcome).inc()
        logs.log("train.finished", model=done.model, version=done.version, job_id=done.job_id, promoted=done.promoted)
        return done

    def _fitted(
        self, train: messages.TrainRequest, request: Request, draft: Path, active: Active, pulse: Pulse
    ) -> Manifest:
        """Run the child in the draft's folder; the manifest of what it left there."""
        began_at = time.monotonic()
        spec = self._spec(train)
        spec.write(draft)
        with self._started(draft) as child:
            request.ack()
            logs.log("train.started", job_id=train.job_id, model=train.model, pid=child.pid, attempt=train.attempt)
            pulse.say(0.0, "starting")
            self._follow(child, spec, draft, active, pulse)
            child.end()
        result = _result(child, draft)
        while time.monotonic() - began_at < self._config.train.pace_s:
            self._check(active)
            drafts.touch(draft)
            active.stop.wait(_POLL_S)
        self._check(active)
        if result.trained is None:
            raise errors.from_body(result.error or errors.InternalError().to_body())
        _keep_only(draft, result.trained.files)
        return _manifest(train, result.trained, result.comparison)

    def _started(self, draft: Path) -> Child:
        try:
            return self._children.child(str(draft))
        except OSError as error:
            raise errors.InternalError("The training process could not be started.") from error

    def _spec(self, train: messages.TrainRequest) -> ChildSpec:
        kind, path = dataset_files.locate(self._config.paths.datasets, train.dataset)
        return ChildSpec(
            request=train,
            kind=kind,
            dataset_path=path,
            models_path=str(self._volume.root),
            champion=self._champion(train.model),
            verify_key_path=str(self._config.paths.verify_key_file),
            memory_bytes=self._config.train.child_memory_bytes,
            artefact_bytes=self._config.predict.memory_bytes,
            prove_s=self._config.train.prove_s,
            measure_s=self._config.train.measure_s,
        )

    def _champion(self, model: str) -> int:
        try:
            return aliases.read_alias(self._volume, model, names.CHAMPION).version
        except (store.NoSuchModel, store.NoSuchAlias, store.Corrupt):
            return 0

    def _follow(self, child: Child, spec: ChildSpec, draft: Path, active: Active, pulse: Pulse) -> None:
        """Pass the child's progress on until it ends, or end it."""
        touched_at = time.monotonic()
        while not child.ended:
            self._check(active)
            line = child.newest_line(_POLL_S)
            if line is not None:
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                    said = msgspec.json.decode(line, type=ChildProgress)
                    pulse.say(said.fraction, said.stage, said.message)
            if time.monotonic() - touched_at > self._config.train.alive_s:
                touched_at = time.monotonic()
                drafts.touch(draft)
                self._check_settled(spec.request)

    def _check_settled(self, train: messages.TrainRequest) -> None:
        """End a training whose job may not publish any more, should the message to stop it be lost."""
        if job_index.look_up(self._volume, train.model, train.job_id) == job_index.TOMBSTONE:
            raise errors.Cancelled

    def _check(self, active: Active) -> None:
        """Raise what should end a training that goes on."""
        if active.stop.is_set() and not active.deaf:
            raise errors.Cancelled
        if self._closing is not None and self._closing.expired:
            raise errors.Stopping


def _result(child: Child, draft: Path) -> ChildResult:
    """What the child left. Raises the error that fits a child that left nothing."""
    with contextlib.suppress(OSError, ValueError):
        return ChildResult.read(draft)
    tail = child.error_tail
    logs.log("train.failed", level="ERROR", pid=child.pid, exit_code=child.exit_code, stderr=tail)
    if any(word in tail for word in _FULL_WORDS):
        raise errors.StorageFull
    if any(word in tail for word in _MEMORY_WORDS):
        raise errors.TrainingFailed(
            "This training needs more memory than it may use.",
            hint="Train on fewer rows or columns, or with a lighter estimator.",
        )
    raise errors.InternalError("The training process ended before it was done.")


def _keep_only(draft: Path, files: Sequence[str]) -> None:
    """Remove the orders, the result, and anything else that is no part of the artefact."""
    for path in draft.iterdir():
        if path.name not in files:
            drafts.discard(path)


def _manifest(train: messages.TrainRequest, trained: Trained, comparison: Comparison | None) -> Manifest:
    said = msgspec.to_builtins(trained)
    del said["files"]
    return Manifest(
        model=train.model,
        job_id=train.job_id,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        comparison=msgspec.to_builtins(comparison) if comparison is not None else {},
        **said,
    )
