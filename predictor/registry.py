"""The versions in memory: from a name and a number to something that answers.

Between the batches (and announcements) and the model volume. A version is loaded once however
many ask for it at once; one that fails is remembered for a while, so that asking again costs
nothing; beyond the memory bound the least recently used goes, for a large version before it is
loaded, and an older version that nobody asks for any more goes when a newer one comes. A version
that was unloaded lives until its last request is done, because that request holds it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass

from model_store import names, reading
from model_store.signing import Verifier
from model_store.volume import Volume
from predictor import metrics, room
from predictor.loaded import LoadedVersion, prepare
from predictor.store_errors import translated
from wire import errors, logs
from wire.deadlines import Deadline

REMEMBER_S = 5.0
"""Seconds a failure is answered from memory before the volume is looked at again."""

MAX_REMEMBERED = 256
"""Failures that are remembered; the oldest goes first."""

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
        return room.cost_bytes(self.loaded.runtime.kind, self.loaded.size_bytes)


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
        self._large = room.LargeLoads()
        self._failures: OrderedDict[Key, _Failure] = OrderedDict()

    def get(self, model: str, version: int, deadline: Deadline, *, wait_s: float = 0.0) -> LoadedVersion:
        """The version, from memory or from the volume.

        ``wait_s`` bounds how long a version that is not there is looked for. Raises ModelNotFound,
        VersionNotFound, ModelCorrupt, TooLarge, InternalError, or DeadlineExceeded when another
        thread's load takes too long.
        """
        while True:
            try:
                return self._get((model, version), deadline, wait_s)
            except errors.DeadlineExceeded:
                # It may have been that of another caller, who was to load the version and had less time.
                if deadline.expired:
                    raise

    def _get(self, key: Key, deadline: Deadline, wait_s: float) -> LoadedVersion:
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
        return self._load(key, place, mine, deadline, min(wait_s, deadline.remaining_s))

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

    def _load(
        self, key: Key, place: _Place, mine: Future[LoadedVersion], deadline: Deadline, wait_s: float
    ) -> LoadedVersion:
        started_at = time.monotonic()
        try:
            loaded = self._read(key, place, deadline, wait_s)
        except Exception as error:
            # A copy: by its frames the error itself would hold the future, which would hold it and the version's bytes.
            known = _copy(error) if isinstance(error, errors.WarrenError) else errors.InternalError()
            self._note_failure(key, known, waited=wait_s > 0)
            mine.set_exception(known)
            raise
        else:
            mine.set_result(loaded)
        finally:
            with self._lock:
                del self._loading[key]
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

    def _read(self, key: Key, place: _Place, deadline: Deadline, wait_s: float) -> LoadedVersion:
        """Read, load and keep the version; a large one waits for its turn, and room is made before it is loaded."""
        model, version = key
        try:
            with translated():
                manifest = reading.read_manifest(self._volume, model, version, self._verifier, wait_s=wait_s)
                size_bytes = room.served_bytes(manifest)
                cost_bytes = room.bounded_cost_bytes(manifest, self._memory_bytes)
                with self._large.turn(size_bytes, deadline):
                    artefact = reading.read(
                        self._volume, model, version, self._verifier, self._memory_bytes, wait_s=wait_s
                    )
                    stamp = place.stamp()
                    if stamp is None:
                        raise errors.VersionNotFound
                    if size_bytes >= room.LARGE_BYTES:
                        with self._lock:
                            self._make_room(cost_bytes)
                    loaded = prepare(artefact)
                    with self._lock:
                        self._keep(key, _Entry(loaded, place, stamp, time.monotonic()))
        except MemoryError as error:
            raise errors.TooLarge("This version needs more memory than the predictor has.") from error
        return loaded

    # ------------------------------------------------------------------ with the lock held

    def _used(self, key: Key, entry: _Entry) -> LoadedVersion:
        self._entries.move_to_end(key)
        entry.used_at = time.monotonic()
        return entry.loaded

    def _keep(self, key: Key, entry: _Entry) -> None:
        self._failures.pop(key, None)
        for older in [other for other in self._entries if other[0] == key[0] and other[1] < key[1]]:
            if self._entries[older].used_at <= entry.used_at - self._superseded_s:
                self._evict(older)
        self._make_room(entry.cost_bytes)
        self._entries[key] = entry
        self._show()

    def _make_room(self, cost_bytes: int) -> None:
        used = cost_bytes + sum(each.cost_bytes for each in self._entries.values())
        for oldest in list(self._entries):
            if used <= self._memory_bytes:
                break
            used -= self._entries[oldest].cost_bytes
            self._evict(oldest)

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
        if isinstance(error, errors.DeadlineExceeded):
            return  # says nothing about the version
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
        raise _copy(error) from None


def _copy(error: errors.WarrenError) -> errors.WarrenError:
    return type(error)(error.message)
