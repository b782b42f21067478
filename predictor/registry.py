"""The versions in memory: from a name and a number to something that answers.

Between the batches (and announcements) and the model volume. A version is loaded once however
many ask for it at once; one that fails is remembered for a while, so that asking again costs
nothing; beyond the memory bound the least recently used goes, and an older version that nobody
asks for any more goes when a newer one comes. A version that was unloaded lives until its last
request is done, because that request holds it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from model_store import names, reading
from model_store.signing import Verifier
from model_store.volume import Volume
from predictor import metrics
from predictor.loaded import LoadedVersion, prepare
from predictor.store_errors import translated
from wire import errors, logs
from wire.deadlines import Deadline

REMEMBER_S = 5.0
"""Seconds a failure is answered from memory before the volume is looked at again."""

MAX_REMEMBERED = 256
"""Failures that are remembered; the oldest goes first."""

VERSION_BYTES = 2**19
"""What a loaded version takes beside its served file: 0.36 MB were measured for a session of onnxruntime with a graph
of 3 kB and what belongs to it. Without it a bound on artefacts would let thousands of small versions fill a machine."""

BYTES_IN_MEMORY: Final = {"onnx": 4.4, "skops": 1.0}
"""What each byte of a served file takes in memory, once it was loaded and predicted, and freed memory went back.

Measured: a forest of 60 trees and 6 million nodes, 108 MB, took 465 MB; forests of 10 trees 4.3 to 5.7 times their
2 to 10 MB; a graph of matrices (18 MB) its size, and 4.5 times that once it had computed 1,000 rows; a forest and
neighbours of scikit-learn's (37 and 42 MB) theirs. Not counted: while a graph's forest is loaded, it takes 20 times
its file."""

Key = tuple[str, int]
Stamp = tuple[int, int, int]
"""Inode, change in nanoseconds and size of a version's signature: whether it is still the same artefact."""


@dataclass(frozen=True)
class _Place:
    """Where a version is on the volume: built once, because every batch looks there."""

    signature: str
    deleted: str

    def stamp(self) -> Stamp | None:
        """The stamp of the version, None when it is not there or was deleted."""
        try:
            status = os.lstat(self.signature)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if os.path.lexists(self.deleted):
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


@dataclass(eq=False)
class _Entry:
    loaded: LoadedVersion
    place: _Place
    stamp: Stamp
    used_at: float

    @property
    def cost_bytes(self) -> int:
        return int(self.loaded.size_bytes * BYTES_IN_MEMORY[self.loaded.runtime.kind]) + VERSION_BYTES


@dataclass(frozen=True)
class _Failure:
    kind: type[errors.WarrenError]
    message: str
    again_at: float


class Registry:
    """Loads versions and keeps them. For any number of threads."""

    def __init__(self, volume: Volume, verifier: Verifier, memory_bytes: int, *, superseded_s: float = 300.0) -> None:
        """``memory_bytes`` and ``superseded_s`` are settings.Predict's."""
        self._volume = volume
        self._verifier = verifier
        self._memory_bytes = memory_bytes
        self._superseded_s = superseded_s
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._loading: dict[Key, Future[LoadedVersion]] = {}
        self._failures: OrderedDict[Key, _Failure] = OrderedDict()

    def get(self, model: str, version: int, deadline: Deadline, *, wait_s: float = 0.0) -> LoadedVersion:
        """The version, from memory or from the volume.

        ``wait_s`` bounds how long a version that is not there is looked for. Raises ModelNotFound,
        VersionNotFound, ModelCorrupt, TooLarge, InternalError, or DeadlineExceeded when another
        thread's load takes too long.
        """
        key = (model, version)
        entry = self._entries.get(key)
        with translated():
            place = entry.place if entry is not None else self._place(key)
            stamp = place.stamp()
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.stamp == stamp:
                return self._used(key, entry)
            if entry is not None:
                self._drop(key, "model.forgotten")
            self._raise_remembered(key, stamp)
            running = self._loading.get(key)
            if running is None:
                mine = self._loading[key] = Future()
        if running is not None:
            return _outcome(running, deadline)
        return self._load(key, place, mine, min(wait_s, deadline.remaining_s))

    def at_hand(self, model: str, version: int) -> LoadedVersion | None:
        """The version if it is in memory and still the one on the volume; waits for nobody."""
        key = (model, version)
        entry = self._entries.get(key)
        if entry is None or entry.place.stamp() != entry.stamp or not self._lock.acquire(blocking=False):
            return None
        try:
            return self._used(key, entry) if self._entries.get(key) is entry else None
        finally:
            self._lock.release()

    def announced(self, model: str, version: int, deadline: Deadline, *, wait_s: float) -> LoadedVersion:
        """The same for a version that was just published: what failed before is tried again."""
        with self._lock:
            self._failures.pop((model, version), None)
        return self.get(model, version, deadline, wait_s=wait_s)

    def forget(self, model: str, version: int = 0) -> None:
        """Unload a version that was deleted, or (0) every version of the model."""
        with self._lock:
            for key in [key for key in self._entries if _concerns(key, model, version)]:
                self._drop(key, "model.forgotten")
            for key in [key for key in self._failures if _concerns(key, model, version)]:
                del self._failures[key]
            self._show()

    def loaded(self) -> list[Key]:
        """The versions in memory, least recently used first."""
        with self._lock:
            return list(self._entries)

    def _place(self, key: Key) -> _Place:
        folder = self._volume.version(*key)
        return _Place(str(folder / names.SIGNATURE), str(folder / names.DELETED))

    def _load(self, key: Key, place: _Place, mine: Future[LoadedVersion], wait_s: float) -> LoadedVersion:
        started_at = time.monotonic()
        try:
            entry = self._read(key, place, wait_s)
        except Exception as error:
            known = error if isinstance(error, errors.WarrenError) else errors.InternalError()
            self._note_failure(key, known, waited=wait_s > 0)
            mine.set_exception(known)
            raise
        else:
            with self._lock:
                self._keep(key, entry)
            mine.set_result(entry.loaded)
        finally:
            with self._lock:
                del self._loading[key]
        loaded = entry.loaded
        metrics.loads.labels("done").inc()
        metrics.load_seconds.observe(time.monotonic() - started_at)
        logs.log(
            "model.loaded",
            model=key[0],
            version=key[1],
            runtime=loaded.runtime.kind,
            size_bytes=loaded.size_bytes,
            seconds=round(time.monotonic() - started_at, 4),
        )
        return loaded

    def _read(self, key: Key, place: _Place, wait_s: float) -> _Entry:
        model, version = key
        try:
            with translated():
                artefact = reading.read(self._volume, model, version, self._verifier, self._memory_bytes, wait_s=wait_s)
                stamp = place.stamp()
                loaded = prepare(artefact)
        except MemoryError as error:
            raise errors.TooLarge("This version needs more memory than the predictor has.") from error
        if stamp is None:
            raise errors.VersionNotFound
        return _Entry(loaded, place, stamp, time.monotonic())

    # ------------------------------------------------------------------ with the lock held

    def _used(self, key: Key, entry: _Entry) -> LoadedVersion:
        self._entries.move_to_end(key)
        entry.used_at = time.monotonic()
        return entry.loaded

    def _keep(self, key: Key, entry: _Entry) -> None:
        self._entries[key] = entry
        self._failures.pop(key, None)
        for older in [other for other in self._entries if other[0] == key[0] and other[1] < key[1]]:
            if self._entries[older].used_at <= entry.used_at - self._superseded_s:
                self._evict(older)
        used = sum(each.cost_bytes for each in self._entries.values())
        for oldest in list(self._entries):
            if used <= self._memory_bytes or oldest == key:
                break
            used -= self._entries[oldest].cost_bytes
            self._evict(oldest)
        self._show()

    def _evict(self, key: Key) -> None:
        self._drop(key, "model.evicted")
        metrics.evictions.inc()

    def _drop(self, key: Key, action: logs.Action) -> None:
        del self._entries[key]
        self._show()
        logs.log(action, model=key[0], version=key[1])

    def _raise_remembered(self, key: Key, stamp: Stamp | None) -> None:
        failure = self._failures.get(key)
        if failure is None or time.monotonic() >= failure.again_at:
            return
        if stamp is None or not issubclass(failure.kind, errors.NotFound):
            raise failure.kind(failure.message)

    def _show(self) -> None:
        metrics.loaded_versions.set(len(self._entries))
        metrics.loaded_bytes.set(sum(entry.cost_bytes for entry in self._entries.values()))
        metrics.corrupt_versions.set(sum(each.kind is errors.ModelCorrupt for each in self._failures.values()))

    # ------------------------------------------------------------------

    def _note_failure(self, key: Key, error: errors.WarrenError, *, waited: bool) -> None:
        metrics.loads.labels(error.code).inc()
        with self._lock:
            self._failures.pop(key, None)
            # A version that is simply not there costs little to look for, unless that took patience.
            if waited or not isinstance(error, errors.NotFound):
                again_at = time.monotonic() + REMEMBER_S
                self._failures[key] = _Failure(type(error), error.message, again_at)
                if len(self._failures) > MAX_REMEMBERED:
                    self._failures.popitem(last=False)
            self._show()
        if isinstance(error, errors.ModelCorrupt):
            logs.log("model.corrupt", level="ERROR", model=key[0], version=key[1], reason=error.message)
        elif not isinstance(error, errors.NotFound):
            logs.log("model.load_failed", level="ERROR", model=key[0], version=key[1], code=error.code)


def _concerns(key: Key, model: str, version: int) -> bool:
    return key == (model, version) or (version == 0 and key[0] == model)


def _outcome(running: Future[LoadedVersion], deadline: Deadline) -> LoadedVersion:
    """What another thread's load ends with."""
    try:
        return running.result(deadline.remaining_s)
    except TimeoutError as error:
        raise errors.DeadlineExceeded("The version was still being loaded.") from error
    except errors.WarrenError as error:
        # One exception object raised in several threads would gather all their frames.
        raise type(error)(error.message) from None
