"""After publishing: every predictor loads the version, then it becomes champion or not.

From a published manifest to TrainDone. All of it may run again for a job whose first run was cut
short: loading twice, or moving an alias to where it is, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from model_store import aliases, names
from model_store.manifest import Manifest
from model_store.volume import Volume
from trainer.announce import Announcer
from trainer.spec import Comparison
from wire import errors, messages, topology
from wire.client import RpcClient
from wire.deadlines import Deadline

_MARGIN_S = 10.0
"""Seconds beyond the predictors' loading for other changes that are waiting before ours."""


@dataclass(frozen=True)
class Intent:
    """What to do about the champion: move it (from ``expected``, None: from anywhere) or not, and why."""

    move: bool
    reason: str
    expected: int | None = None


def intent(promote: messages.Promote, comparison: Comparison | None) -> Intent:
    """Whether a version should become champion, by its request and its comparison."""
    if promote == "never":
        return Intent(False, "the request says never to promote it")
    if promote == "always":
        return Intent(True, "the request says always to promote it")
    if comparison is None:
        return Intent(False, "the comparison with the champion is not known")
    if not comparison.champion:
        return Intent(True, "it is the first version", expected=0)
    return Intent(comparison.better is True, comparison.reason, expected=comparison.champion)


def comparison_of(manifest: Manifest) -> Comparison | None:
    """How the version was compared with the champion, as its manifest says."""
    try:
        return msgspec.convert(manifest.comparison, Comparison)
    except msgspec.ValidationError:
        return None


class Promoter:
    """Finishes published versions."""

    def __init__(self, volume: Volume, rpc: RpcClient, announcer: Announcer, warm_wait_s: float) -> None:
        self._volume = volume
        self._rpc = rpc
        self._announcer = announcer
        self._warm_wait_s = warm_wait_s

    def finish(
        self,
        request: messages.TrainRequest,
        version: int,
        manifest: Manifest | None,
        give_up: Callable[[], object] = lambda: None,
    ) -> messages.TrainDone:
        """Load, promote, and say how it ended; ``manifest`` None: the version was deleted since.

        ``give_up`` raises what should end the waiting. Raises NotAnswered kinds and InternalError
        when predictors or the queue of changes cannot be reached: to be tried again.
        """
        if manifest is None:
            return _done(request, version, {}, False, "the version was deleted since")
        self._announcer.warm(request.model, version, Deadline.after(self._warm_wait_s), give_up)
        promoted, reason = self._promote(request, version, intent(request.promote, comparison_of(manifest)))
        return _done(request, version, manifest.metrics, promoted, reason)

    def _promote(self, request: messages.TrainRequest, version: int, wanted: Intent) -> tuple[bool, str]:
        if self._was_champion(request.model, version):
            return True, wanted.reason
        if not wanted.move:
            return False, wanted.reason
        change = messages.SetAlias(
            model=request.model,
            alias=names.CHAMPION,
            version=version,
            expected=wanted.expected,
            by=f"job {request.job_id}",
        )
        deadline = Deadline.after(self._warm_wait_s + _MARGIN_S)
        try:
            self._rpc.call(
                topology.CHANGES, change, messages.AliasState, deadline=deadline, request_id=request.request_id
            )
        except (errors.Conflict, errors.NotFound, errors.ModelCorrupt) as error:
            return False, _refusal(error)
        return True, wanted.reason

    def _was_champion(self, model: str, version: int) -> bool:
        """Whether an earlier run got as far as the alias, be it moved on since."""
        return any(state.version == version for state in aliases.history(self._volume, model, names.CHAMPION))


def _refusal(error: errors.WarrenError) -> str:
    if isinstance(error, errors.StaleChampion):
        return "another version became champion meanwhile"
    return error.message


def _done(
    request: messages.TrainRequest, version: int, metrics: dict[str, object], promoted: bool, reason: str
) -> messages.TrainDone:
    return messages.TrainDone(
        job_id=request.job_id,
        model=request.model,
        version=version,
        metrics=metrics,
        promoted=promoted,
        promotion_reason=reason,
    )
