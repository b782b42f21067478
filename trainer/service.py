"""The trainer's process: what it serves, whether it is ready, and how it stops.

From the broker's queues TRAIN, INSPECT, TABLES and CHANGES, and the fanouts STOP and PRESENCE, to their
handlers. Each has threads of its own, so no training blocks a change or an inspection. This
process imports no scikit-learn, pandas or ONNX: what does runs in children.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from model_store.signing import Signer, Verifier
from model_store.volume import Volume
from trainer.announce import Announcer, Presence
from trainer.changes import Changes
from trainer.inspection import PROFILE_COMMAND, Inspections
from trainer.promotion import Promoter
from trainer.sweeping import Sweeper
from trainer.table_work import TABLE_COMMAND, TableWork
from trainer.training import CHILD_MODULE, Trainings
from wire import logs, messages, settings, telemetry, topology
from wire.client import RpcClient
from wire.deadlines import Deadline
from wire.server import Request, RpcServer

INSPECTORS = 2
"""Datasets profiled at once."""

_REPLY_S = 2.0
"""Seconds beyond the drain for the last replies to be confirmed, and for each later step of the stop."""
_VOLUME_CHECK_S = 1.0


class TrainerService:
    """One trainer. ``start`` it, ``stop`` it once."""

    def __init__(
        self,
        config: settings.Settings,
        child_module: str = CHILD_MODULE,
        profile_command: Sequence[str] = PROFILE_COMMAND,
        table_command: Sequence[str] = TABLE_COMMAND,
    ) -> None:
        """Wire everything. Raises OSError or ValueError when the signing keys cannot be read."""
        self._config = config
        self._volume = Volume(config.paths.models)
        signer, verifier = Signer(config.paths.signing_key_file), Verifier(config.paths.verify_key_file)
        self._rpc = RpcClient(config.broker, "trainer", "trainer")
        self._work = RpcServer(config.broker, "trainer", "trainer")
        # A training that ends during the drain is promoted through the changes, so these stop last.
        self._control = RpcServer(config.broker, "trainer", "trainer-changes")
        self._presence = Presence(config)
        announcer = Announcer(self._rpc, self._presence)
        promoter = Promoter(self._volume, self._rpc, announcer, config.train.warm_wait_s)
        self._trainings = Trainings(config, signer, verifier, promoter, child_module)
        self._inspections = Inspections(config, profile_command)
        self._tables = TableWork(config, table_command)
        self._changes = Changes(self._volume, verifier, announcer, config.train.warm_wait_s)
        self._sweeper = Sweeper(self._volume, self._rpc, config.retention)
        self._health = _VolumeHealth(self._volume)
        self._subscribe()

    def _subscribe(self) -> None:
        work, control = self._work, self._control
        self._trainings.subscription = work.serve(topology.TRAIN, self._trainings.handle, prefetch=1)
        work.serve(topology.INSPECT, self._inspections.handle, prefetch=INSPECTORS, threads=INSPECTORS)
        work.serve(topology.TABLES, self._tables.handle, prefetch=1)
        control.serve(topology.CHANGES, self._changes.handle, prefetch=1)
        control.subscribe(topology.STOP, self._stop_training)
        control.subscribe(topology.PRESENCE, self._hear)

    def start(self) -> None:
        """Connect in the background, clean the volume, and serve; returns at once."""
        self._probe = telemetry.start_probe_server(self._config.process, self.lacking)
        self._rpc.start()
        self._control.start()
        self._work.start()
        self._sweeper.start()
        logs.log("process.started", metrics_port=self._probe.port)

    def stop(self, drain_s: float | None = None) -> None:
        """Stop taking, let what runs finish for ``drain_s``, end the rest, reply, close."""
        logs.log("process.stopping")
        drain_s = self._config.process.drain_s if drain_s is None else drain_s
        deadline = Deadline.after(drain_s)
        self._trainings.close(deadline)
        self._inspections.close(deadline)
        self._tables.close(deadline)
        self._work.stop(drain_s + _REPLY_S)
        self._trainings.end()
        self._control.stop(_REPLY_S)
        self._sweeper.close(_REPLY_S)
        self._rpc.close()
        self._probe.close()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until everything is served; False when that took longer."""
        deadline = Deadline.after(timeout_s)
        return (
            self._control.wait_ready(deadline.remaining_s)
            and self._work.wait_ready(deadline.remaining_s)
            and self._rpc.wait_connected(deadline.remaining_s)
        )

    def lacking(self) -> dict[str, str]:
        """What keeps this trainer from being ready, by name; empty when it is."""
        lacking = {}
        if not (self._work.ready and self._control.ready and self._rpc.connected):
            lacking["broker"] = "not connected"
        if not self._health.writable():
            lacking["models"] = "the model volume cannot be written to"
        if not self._config.paths.datasets.is_dir():
            lacking["datasets"] = "the folder of datasets is not there"
        return lacking

    def _stop_training(self, request: Request) -> None:
        self._tables.stop(messages.StopTraining.decode(request.body).job_id)
        self._trainings.stop(request)

    def _hear(self, request: Request) -> None:
        self._presence.hear(request)


class _VolumeHealth:
    """Whether the volume takes files, looked up at most once a second however often it is asked."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._writable = False

    def writable(self) -> bool:
        with self._lock:
            if time.monotonic() - self._looked_at >= _VOLUME_CHECK_S:
                self._looked_at = time.monotonic()
                self._writable = self._look()
            return self._writable

    def _look(self) -> bool:
        try:
            self._volume.check_writable()
        except OSError:
            return False
        return True
