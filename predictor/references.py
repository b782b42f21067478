"""From what a request names to the version that answers it: a number, or an alias read now.

Between a batch and the registry. The alias file is read once per batch, so a moved alias is
obeyed by the next batch. When the version it names cannot be served, the last good one goes on
serving, and an alarm says so.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from functools import lru_cache

from model_store import aliases, names
from model_store.volume import Volume
from predictor import metrics
from predictor.loaded import LoadedVersion
from predictor.registry import Registry
from predictor.store_errors import translated
from wire import errors, logs
from wire.deadlines import Deadline

REMOTE_WAIT_S = 1.0
"""Longest look for a version that is not there, on a volume of another machine; on a local disk none:
what is not there does not exist (docs/decisions/0009)."""

MAX_GOOD = 4_096
"""Aliases whose last good version is remembered."""


SLOW_LOOK_S = 0.02
"""A look at the volume that takes longer is none for a thread that others wait for."""

REST_S = 1.0
"""Seconds after a slow look in which only the handler threads look."""


class References:
    """Resolves what requests name. For any number of threads."""

    def __init__(self, volume: Volume, registry: Registry, *, remote: bool) -> None:
        """``remote``: the volume belongs to another machine, so names may appear late."""
        self._volume = volume
        self._registry = registry
        self._wait_s = REMOTE_WAIT_S if remote else 0.0
        self._lock = threading.Lock()
        self._good: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._pointers = lru_cache(maxsize=MAX_GOOD)(self._pointer)
        self._look_again_at = 0.0

    def resolve(self, model: str, version: int, alias: str, deadline: Deadline) -> LoadedVersion:
        """The version to answer with. ``version`` 0 means ``alias``, and no alias means champion.

        Raises ModelNotFound, VersionNotFound, AliasNotFound, ModelCorrupt, TooLarge, DeadlineExceeded.
        """
        if version:
            return self._get(model, version, deadline)
        return self._by_alias(model, alias or names.CHAMPION, deadline)

    def at_hand(self, model: str, version: int, alias: str) -> LoadedVersion | None:
        """The same without waiting: None unless the version is in memory and the volume answers promptly.

        Looks at the volume as ``resolve`` does, so a moved alias is obeyed at once.
        """
        started_at = time.monotonic()
        if started_at < self._look_again_at:
            return None
        key = (model, alias or names.CHAMPION)
        named = version or self._pointers(key).version()
        loaded = self._registry.at_hand(model, named) if named else None
        if time.monotonic() - started_at > SLOW_LOOK_S:
            self._look_again_at = time.monotonic() + REST_S
        if loaded is not None and not version:
            self._remember(key, named)
        return loaded

    def _pointer(self, key: tuple[str, str]) -> aliases.Pointer:
        return aliases.Pointer(self._volume, *key)

    def _get(self, model: str, version: int, deadline: Deadline) -> LoadedVersion:
        wait_s = min(self._wait_s, deadline.remaining_s / 2)
        return self._registry.get(model, version, deadline, wait_s=wait_s)

    def _by_alias(self, model: str, alias: str, deadline: Deadline) -> LoadedVersion:
        named = previous = 0
        try:
            with translated():
                state = aliases.read_alias(self._volume, model, alias)
            named, previous = state.version, state.previous
            loaded = self._get(model, named, deadline)
        except (errors.ModelCorrupt, errors.VersionNotFound, errors.TooLarge) as error:
            return self._last_good(model, alias, (named, previous), error, deadline)
        self._remember((model, alias), named)
        return loaded

    def _last_good(
        self, model: str, alias: str, state: tuple[int, int], error: errors.WarrenError, deadline: Deadline
    ) -> LoadedVersion:
        named, previous = state
        with self._lock:
            good = self._good.get((model, alias), 0)
        for candidate in dict.fromkeys((good, previous)):
            if candidate and candidate != named:
                try:
                    loaded = self._get(model, candidate, deadline)
                except errors.Answered:
                    continue
                metrics.fallbacks.inc()
                logs.log(
                    "predict.failed", level="DEBUG", model=model, alias=alias, version=named, served=candidate,
                    code=error.code,
                )  # fmt: skip
                return loaded
        raise error

    def _remember(self, key: tuple[str, str], version: int) -> None:
        with self._lock:
            if self._good.get(key) == version:
                return
            self._good[key] = version
            self._good.move_to_end(key)
            if len(self._good) > MAX_GOOD:
                self._good.popitem(last=False)
