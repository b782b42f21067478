"""The predictor's process: what it serves, whether it is ready, and how it stops.

From the queues PREDICT, BULK and MODELS and the fanout ANNOUNCE to their handlers, each with threads of
its own. The volume is only ever read.
"""

from __future__ import annotations

import os
import secrets
import socket

from model_store import names
from model_store.signing import Verifier
from model_store.volume import Volume
from predictor.announcements import Announcements
from predictor.batches import Batches
from predictor.bulk import Bulk
from predictor.live_traffic import LiveTraffic
from predictor.mounts import is_remote
from predictor.presence import Presence
from predictor.reads import Reads
from predictor.references import REMOTE_WAIT_S, References
from predictor.registry import Registry
from wire import errors, logs, messages, settings, telemetry, topology
from wire.deadlines import Deadline
from wire.server import Handler, Request, RpcServer
from wire.subscriptions import Shortcut

READS_PREFETCH = 8
"""Reads held at once; each takes milliseconds."""

PRELOAD_S = 5.0
"""Seconds at start for loading champions; the rest is loaded when it is asked for."""


class PredictorService:
    """One predictor. ``start`` it, ``stop`` it once."""

    def __init__(self, config: settings.Settings) -> None:
        """Wire everything. Raises OSError or ValueError when the verify key cannot be read."""
        self._config = config
        self._volume = Volume(config.paths.models)
        verifier = Verifier(config.paths.verify_key_file)
        remote = is_remote(config.paths.models)
        self.predictor_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        limits = config.predict
        self.registry = Registry(self._volume, verifier, limits.memory_bytes, superseded_s=limits.superseded_s)
        self._references = References(self._volume, self.registry, remote=remote)
        batches = Batches(self._references, max_rows=config.limits.predict_rows)
        self._traffic = LiveTraffic(config.bulk.quiet_s, config.bulk.patience_s)
        bulk = Bulk(self._references, self._traffic, max_rows=config.limits.predict_rows, slice_s=config.bulk.slice_s)
        wait_s = REMOTE_WAIT_S if remote else 0.0
        reads = Reads(self._volume, verifier, wait_s=wait_s, predictor_id=self.predictor_id)
        announcements = Announcements(self.registry, self.predictor_id)
        self._server = RpcServer(config.broker, "predictor", "predictor")
        prefetch = config.predict.prefetch
        # As many threads as batches held: one computes while another waits for a version to load.
        self._server.serve(
            topology.PREDICT,
            self._noted(batches.handle),
            prefetch=prefetch,
            threads=prefetch,
            shortcut=self._noted_shortcut(batches.shortcut),
            confirmed=False,
        )
        self._server.serve(topology.BULK, bulk.handle, prefetch=1)
        self._server.serve(topology.MODELS, reads.handle, prefetch=READS_PREFETCH)
        self._server.subscribe(topology.ANNOUNCE, announcements.handle)
        self._presence = Presence(self._server, self.predictor_id, config.predict.presence_s)

    def start(self) -> None:
        """Load the champions, connect in the background and serve."""
        self._probe = telemetry.start_probe_server(self._config.process, self.lacking)
        self._preload(Deadline.after(PRELOAD_S))
        self._server.start()
        self._presence.start()
        logs.log("process.started", predictor_id=self.predictor_id, metrics_port=self._probe.port)

    def stop(self, drain_s: float | None = None) -> None:
        """Stop taking, finish what is here for ``drain_s``, reply, acknowledge, close."""
        logs.log("process.stopping", predictor_id=self.predictor_id)
        self._presence.stop()
        self._server.stop(self._config.process.drain_s if drain_s is None else drain_s)
        self._probe.close()

    @property
    def metrics_port(self) -> int:
        """Where this process answers probes."""
        return self._probe.port

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until everything is served; False when that took longer."""
        return self._server.wait_ready(timeout_s)

    def lacking(self) -> dict[str, str]:
        """What keeps this predictor from being ready, by name; empty when it is."""
        lacking = {}
        if not self._server.ready:
            lacking["broker"] = "not connected"
        if not os.access(self._config.paths.models, os.R_OK | os.X_OK):
            lacking["models"] = "the model volume cannot be read"
        return lacking

    def _noted(self, handler: Handler) -> Handler:
        """The live handler, seen by bulk work."""

        def handle(request: Request) -> messages.Message | None:
            with self._traffic.working():
                return handler(request)

        return handle

    def _noted_shortcut(self, shortcut: Shortcut) -> Shortcut:
        """The live shortcut; it is asked about every live delivery, when it arrives."""

        def ask(request: Request) -> Handler | None:
            self._traffic.arrived()
            return shortcut(request)

        return ask

    def _preload(self, deadline: Deadline) -> None:
        for model in self._volume.folders():
            if deadline.expired:
                return
            try:
                self._references.resolve(model, 0, names.CHAMPION, deadline)
            except errors.WarrenError as error:
                logs.log("model.load_failed", model=model, code=error.code)
