"""Changes to what is served: aliases, deletions, and the settlement of jobs.

From topology.CHANGES to the model volume. The queue has one active consumer among all trainers
and this handler one thread, so changes have one order; no training ever blocks it. An alias
moves only to a version that every predictor has loaded, and only from where it was before that wait:
another trainer may have taken over meanwhile. A change whose trainer died before it answered comes again,
and is made once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TypeVar

from model_store import aliases, deletion, names, reading, settling
from model_store import errors as store
from model_store.signing import Verifier
from model_store.volume import Volume
from trainer.announce import Announcer
from trainer.store_errors import translated
from wire import build, errors, logs, messages
from wire.deadlines import Deadline
from wire.server import Request

M = TypeVar("M", bound=messages.Message)

_RESERVE_S = 0.5
"""Seconds kept of the requester's time for the move itself and the reply."""


class Changes:
    """Handles the messages of topology.CHANGES; run it in one thread."""

    def __init__(self, volume: Volume, verifier: Verifier, announcer: Announcer, warm_wait_s: float) -> None:
        self._volume = volume
        self._verifier = verifier
        self._announcer = announcer
        self._warm_wait_s = warm_wait_s
        self._handlers: dict[str, Callable[[Request], messages.Message]] = {
            messages.SetAlias.TYPE: self._set_alias,
            messages.DeleteAlias.TYPE: self._delete_alias,
            messages.Rollback.TYPE: self._rollback,
            messages.DeleteVersion.TYPE: self._delete_version,
            messages.DeleteModel.TYPE: self._delete_model,
            messages.Settle.TYPE: self._settle,
            messages.Examine.TYPE: self._examined,
        }

    def handle(self, request: Request) -> messages.Message:
        """Make one change. Raises errors.MalformedBody for a kind of message that is none."""
        handler = self._handlers.get(request.kind)
        if handler is None:
            raise errors.MalformedBody("this message is no change")
        with translated():
            return handler(request)

    def _set_alias(self, request: Request) -> messages.AliasState:
        change = messages.SetAlias.decode(request.body)
        names.check_alias(change.alias)
        current = self._current(change.model, change.alias)
        if change.expected is not None and current not in (change.expected, change.version):
            raise store.StaleAlias(current)
        self._make_ready(change.model, change.version, request)
        moved = aliases.move_alias(
            self._volume, change.model, change.alias, change.version, expected=current, by=change.by
        )
        return _state(change.model, moved)

    def _rollback(self, request: Request) -> messages.AliasState:
        change = messages.Rollback.decode(request.body)
        moved = aliases.rollback(
            self._volume,
            change.model,
            by=change.by,
            asked=request.correlation_id,
            ready=lambda version: self._make_ready(change.model, version, request),
        )
        return _state(change.model, moved)

    def _delete_alias(self, request: Request) -> messages.AliasState:
        change = messages.DeleteAlias.decode(request.body)
        gone = aliases.delete_alias(
            self._volume, change.model, change.alias, by=change.by, asked=request.correlation_id
        )
        logs.log("alias.deleted", model=change.model, alias=change.alias, by=change.by)
        return _state(change.model, gone)

    def _delete_version(self, request: Request) -> messages.Deleted:
        change = messages.DeleteVersion.decode(request.body)
        with _found_once(request):
            deletion.delete_version(self._volume, change.model, change.version)
        self._forget(change.model, change.version, change.by)
        return messages.Deleted()

    def _delete_model(self, request: Request) -> messages.Deleted:
        change = messages.DeleteModel.decode(request.body)
        with _found_once(request):
            deletion.delete_model(self._volume, change.model, by=change.by)
        self._forget(change.model, 0, change.by)
        return messages.Deleted()

    def _settle(self, request: Request) -> messages.Settled:
        asked = messages.Settle.decode(request.body)
        version = settling.settle(self._volume, asked.model, asked.job_id, self._verifier)
        if not version:
            return messages.Settled(job_id=asked.job_id, version=0)
        try:
            metrics = reading.read_manifest(self._volume, asked.model, version, self._verifier).metrics
        except store.StoreError:
            metrics = {}  # deleted or spoilt since; the job has had its version all the same
        return messages.Settled(job_id=asked.job_id, version=version, metrics=metrics)

    def _examined(self, request: Request) -> messages.Examined:
        """How this trainer is: it is the one in charge, so the volume must take files from it."""
        messages.Examine.decode(request.body)
        try:
            self._volume.check_writable()
            state = messages.VolumeState(True, True, *self._volume.room())
        except OSError:
            state = messages.VolumeState(self._volume.is_readable(), False, 0, 0)
        return build.examined(f"{socket.gethostname()}-{os.getpid()}", state, "numpy", "onnx", "scikit-learn")

    def _current(self, model: str, alias: str) -> int:
        newest = aliases.newest(self._volume, model, alias)
        return newest.version if newest else 0

    def _make_ready(self, model: str, version: int, request: Request) -> None:
        """Refuse what cannot be served, and have the rest loaded everywhere."""
        reading.read_manifest(self._volume, model, version, self._verifier)
        wait_s = self._warm_wait_s
        if request.deadline is not None:
            wait_s = min(wait_s, max(0.0, request.deadline.remaining_s - _RESERVE_S))
        spoilt = self._announcer.warm(model, version, Deadline.after(wait_s)).corrupt
        if spoilt is not None:
            raise errors.from_body(spoilt)
        # Frozen for so long, this process may not be in charge any more, and its requester was told that it failed.
        if request.deadline is not None and request.deadline.expired:
            raise errors.DeadlineExceeded

    def _forget(self, model: str, version: int, by: str) -> None:
        logs.log("model.deleted", model=model, version=version, by=by)
        self._announcer.forget(model, version)


def _found_once(request: Request) -> AbstractContextManager[None]:
    """For a deletion: what a request that comes a second time does not find, it has deleted the first time."""
    return suppress(store.NoSuchModel, store.NoSuchVersion) if request.redelivered else nullcontext()


def _state(model: str, alias: aliases.Alias) -> messages.AliasState:
    if alias.version:
        logs.log("alias.moved", model=model, alias=alias.alias, version=alias.version, by=alias.by)
    return messages.AliasState(
        model=model, alias=alias.alias, version=alias.version, previous=alias.previous, revision=alias.revision
    )
