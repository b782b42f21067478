"""Announcements: which predictors serve, and asking all of them to load a version.

Between the trainer and the predictors. A version is loaded everywhere before an alias names it,
so that no request waits for a load; a predictor that has fallen silent is not waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from wire import errors, logs, messages, replies, settings, telemetry, topology
from wire.client import ReplyStream, RpcClient
from wire.deadlines import Deadline
from wire.server import Request

_POLL_S = 0.1
_ASK_AGAIN_S = 4.0
"""Seconds after which predictors are asked once more to load a version; twice as long each time."""

predictors_seen = telemetry.gauge("predictors_seen", "Predictors heard of lately")
"""How many predictors this trainer would wait for."""


class Presence:
    """Which predictors were heard of lately."""

    def __init__(self, config: settings.Settings) -> None:
        self._timeout_s = config.train.presence_timeout_s
        self._heard_at: dict[str, float] = {}
        self._lock = threading.Lock()
        # Before everyone has had a turn, nobody can be called absent.
        self._complete_at = time.monotonic() + 2 * config.predict.presence_s

    def hear(self, request: Request) -> None:
        """One message of topology.PRESENCE."""
        if request.kind == messages.PredictorAlive.TYPE:
            self._note(messages.PredictorAlive.decode(request.body).predictor_id)
        elif request.kind == messages.PredictorGone.TYPE:
            self._forget(messages.PredictorGone.decode(request.body).predictor_id)

    @property
    def complete(self) -> bool:
        """Whether every predictor has had the time to be heard since this process started."""
        return time.monotonic() >= self._complete_at

    def present(self) -> set[str]:
        """The predictors that serve, as far as is known."""
        oldest = time.monotonic() - self._timeout_s
        with self._lock:
            self._heard_at = {name: at for name, at in self._heard_at.items() if at >= oldest}
            present = set(self._heard_at)
        predictors_seen.set(len(present))
        return present

    def _note(self, predictor_id: str) -> None:
        with self._lock:
            new = predictor_id not in self._heard_at
            self._heard_at[predictor_id] = time.monotonic()
        if new:
            logs.log("predictor.seen", predictor_id=predictor_id)

    def _forget(self, predictor_id: str) -> None:
        with self._lock:
            self._heard_at.pop(predictor_id, None)
        logs.log("predictor.gone", predictor_id=predictor_id)


@dataclass
class Warmed:
    """Who has loaded a version, who could not, and who has not said."""

    loaded: set[str] = field(default_factory=set)
    failed: dict[str, errors.ErrorBody] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    @property
    def corrupt(self) -> errors.ErrorBody | None:
        """What a predictor said that found the stored bytes wrong; they are the same for all."""
        return next((body for body in self.failed.values() if body.code == errors.ModelCorrupt.code), None)


class Announcer:
    """Tells predictors what came and went."""

    def __init__(self, rpc: RpcClient, presence: Presence) -> None:
        self._rpc = rpc
        self._presence = presence

    def warm(
        self, model: str, version: int, deadline: Deadline, give_up: Callable[[], object] = lambda: None
    ) -> Warmed:
        """Have every present predictor load a version, and wait for their answers until ``deadline``.

        They are asked again while one says nothing: what was sent to a predictor, or by it, in the moment in
        which its connection ended is lost. ``give_up`` is called again and again, to raise what should end the
        waiting. Raises errors.BrokerUnavailable when answers can no longer arrive.
        """
        warmed, patience_s = Warmed(), _ASK_AGAIN_S
        while not deadline.expired:
            if self._ask(model, version, Deadline.after(min(patience_s, deadline.remaining_s)), give_up, warmed):
                break
            patience_s *= 2
        for predictor_id, body in warmed.failed.items():
            logs.log(
                "model.load_failed",
                level="WARNING",
                model=model,
                version=version,
                predictor_id=predictor_id,
                error=body.code,
            )
        return warmed

    def _ask(self, model: str, version: int, until: Deadline, give_up: Callable[[], object], warmed: Warmed) -> bool:
        """Whether all have answered when asked once."""
        with self._rpc.gather(topology.ANNOUNCE, messages.LoadVersion(model=model, version=version)) as stream:
            while not until.expired:
                give_up()
                self._listen(stream, warmed)
                warmed.silent = self._presence.present() - warmed.loaded - set(warmed.failed)
                if self._presence.complete and not warmed.silent:
                    return True
        return False

    def forget(self, model: str, version: int = 0) -> None:
        """Tell every predictor that a version (0: every version) is deleted. Raises BrokerUnavailable."""
        self._rpc.broadcast(topology.ANNOUNCE, messages.ForgetVersion(model=model, version=version))

    def _listen(self, stream: ReplyStream, warmed: Warmed) -> None:
        try:
            answer = replies.read(stream.next(_POLL_S), messages.VersionLoaded)
        except errors.DeadlineExceeded:
            return
        except errors.Answered as error:
            logs.log("rpc.failed", level="WARNING", queue=topology.ANNOUNCE, error=error.code)
            return
        if answer.error is None:
            warmed.loaded.add(answer.predictor_id)
        else:
            warmed.failed[answer.predictor_id] = answer.error
