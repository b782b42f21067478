"""Sweeps: at the start and from time to time, the volume is cleaned and old versions go.

Between the clock and the model volume. Deletions are asked for on topology.CHANGES like
everyone's, so they and the moves of aliases have one order.
"""

from __future__ import annotations

import random
import threading

from model_store import cleanup, deletion, reserve
from model_store import errors as store
from model_store.volume import Volume
from wire import errors, logs, messages, topology
from wire.client import RpcClient
from wire.deadlines import Deadline
from wire.retention import Retention

_DELETE_S = 60.0
_CONNECT_S = 30.0


class Sweeper:
    """Sweeps in a thread of its own until it is closed."""

    def __init__(self, volume: Volume, rpc: RpcClient, retention: Retention) -> None:
        self._volume = volume
        self._rpc = rpc
        self._retention = retention
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Sweep now, then every ``retention.sweep_s``."""
        self._thread.start()

    def close(self, wait_s: float) -> None:
        """Sweep no more; waits at most ``wait_s`` for the present sweep."""
        self._over.set()
        self._thread.join(wait_s)

    def _run(self) -> None:
        while True:
            try:
                self.sweep()
            except Exception:
                logs.log("maintenance.failed", level="ERROR", exc_info=True)
            # Trainers that started together need not sweep together.
            if self._over.wait(self._retention.sweep_s * random.uniform(0.9, 1.1)):  # noqa: S311
                return

    def sweep(self) -> None:
        """Clean the volume, delete the versions beyond the limit, and keep some of that room back."""
        cleaned = cleanup.clean(self._volume)
        for model, error in cleaned.failed.items():
            logs.log("maintenance.failed", level="ERROR", model=model, exc_info=error)
        logs.log("volume.cleaned", removed=cleaned.removed, mended=cleaned.mended, retired=cleaned.retired)
        old = [(model, version) for model in self._volume.folders() for version in self._excess(model)]
        if old and self._rpc.wait_connected(_CONNECT_S):
            deleted = sum(self._delete(model, version) for model, version in old)
            logs.log("retention.swept", versions=deleted)
        reserve.fill(self._volume)

    def _excess(self, model: str) -> list[int]:
        """What may go of a model; nothing of one that cannot be read, which is no other's trouble."""
        try:
            return deletion.excess_versions(self._volume, model, self._retention.versions_per_model)
        except (OSError, store.StoreError):
            logs.log("maintenance.failed", level="ERROR", model=model, exc_info=True)
            return []

    def _delete(self, model: str, version: int) -> bool:
        if self._over.is_set():
            return False
        change = messages.DeleteVersion(model=model, version=version, by="retention")
        try:
            self._rpc.call(topology.CHANGES, change, messages.Deleted, deadline=Deadline.after(_DELETE_S))
        except errors.WarrenError as error:
            # Another trainer's sweep, or an alias that came meanwhile; the next sweep looks again.
            logs.log("maintenance.failed", level="WARNING", model=model, version=version, error=error.code)
            return False
        return True
