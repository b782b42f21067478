"""Follow one attempt of one training: send the request, hear the trainer, say how it ended.

Between a leased job and the trainer's RPC stream. The same request may be sent several times
within an attempt (the broker restarted, the request got lost): by the job's id the trainer finds
what it has published for the first one.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import ClassVar

from api.jobs.ending import succeeded
from api.jobs.leases import Held
from api.jobs.progress import ProgressFilter
from api.ledger.leases import Ended, Leases
from wire import errors, logs, messages, settings, topology
from wire.client import ReplyStream, RpcClient
from wire.replies import Delivery

POLL_S = 0.25
"""Seconds between two looks at the lease, the cancel and the stop of the process."""
REFUSALS = 60
"""How often a full or missing queue may refuse the request before the attempt has failed."""
_PAUSE_MAX_S = 5.0
_INPUT = (errors.BadInput, errors.MalformedBody, errors.TooLarge, errors.TrainingFailed)
"""Errors that the same input would cause again: no retry helps.

Not DatasetNotFound: no dataset of a live job can be deleted, so its folder is missing on that one trainer.
"""


@dataclass(frozen=True)
class Done:
    """The work is done, and published: the job ends so."""

    ended: Ended


@dataclass(frozen=True)
class Failed:
    """The attempt failed; ``final``: the input is why, so no retry helps."""

    error: errors.ErrorBody
    final: bool


@dataclass(frozen=True)
class Interrupted:
    """The attempt was cut short: the lease is lost, a cancel was asked for, or this process or the trainer stops."""

    lost: bool = False
    cancel: bool = False


Outcome = Done | Failed | Interrupted
"""How following an attempt ended."""


class Follower:
    """Follows one attempt; ``run`` once, in a thread of its own."""

    queue = topology.TRAIN

    _reached_at: ClassVar[dict[str, float]] = {}
    """By queue: when the newest request of this process that a trainer has come to was about to be sent."""

    def __init__(
        self, rpc: RpcClient, leases: Leases, config: settings.Train, held: Held, stopping: threading.Event
    ) -> None:
        self._rpc = rpc
        self._leases = leases
        self._config = config
        self._held = held
        self._stopping = stopping
        self._request = self._question()
        self._filter = ProgressFilter(time.monotonic)
        self._refusals = 0
        self._lost_request_s = 3 * config.silence_s
        self._asked_at = self._sent_at = time.monotonic()

    def run(self) -> Outcome:
        """Send, listen, and send again where a connection or a request was lost, until it has ended."""
        while True:
            self._asked_at = time.monotonic()
            try:
                with self._rpc.stream(self.queue, self._request, request_id=self._held.job.request_id) as stream:
                    self._sent_at = time.monotonic()
                    outcome = self._listen(stream)
            except errors.BrokerUnavailable:
                outcome = self._await_broker()
            except errors.NotAnswered as error:
                outcome = self._refused(error)
            except errors.TooLarge as error:
                return Failed(error.to_body(), final=True)
            if outcome is not None:
                return outcome

    def _listen(self, stream: ReplyStream) -> Outcome | None:
        """Until the end, or None: send again. Raises what ``ReplyStream.next`` raises for good."""
        heard_at = time.monotonic()
        started = False
        while True:
            interrupted = self._interrupted()
            if interrupted is not None:
                return interrupted
            try:
                delivery = stream.next(POLL_S)
            except errors.DeadlineExceeded:
                silent_s = time.monotonic() - heard_at
                if started and silent_s > self._config.silence_s:
                    return Failed(errors.InternalError("The trainer fell silent.").to_body(), final=False)
                if not started and self._request_is_lost(silent_s):
                    return None
                continue
            heard_at = time.monotonic()
            if not started:
                self._reached_at[self.queue] = max(self._asked_at, self._reached_at.get(self.queue, 0.0))
            started = True
            self._refusals = 0
            outcome = self._hear(delivery)
            if outcome is not None:
                return outcome

    def _interrupted(self) -> Interrupted | None:
        if self._held.lost:
            return Interrupted(lost=True)
        if self._stopping.is_set():
            return Interrupted()
        return Interrupted(cancel=True) if self._held.cancel else None

    def _request_is_lost(self, waited_s: float) -> bool:
        """Whether to send again a request that no trainer answers though it does not wait in the queue.

        Either nothing waits there, or a trainer has come to one that this process sent later: first in,
        first out. It may also be in the hands of a busy trainer; then the copy does no harm, and the
        pause doubles so that there are few.
        """
        if waited_s < self._lost_request_s:
            return False
        overtaken = self._reached_at.get(self.queue, 0.0) > self._sent_at
        if not overtaken and self._rpc.queue_state(self.queue).messages > 0:
            return False
        self._lost_request_s *= 2
        return True

    def _question(self) -> messages.Message:
        """What is asked of the trainer."""
        return self._held.job.train_request()

    def _end(self, delivery: Delivery) -> Outcome | None:
        """The end that an answer tells of, None: it is no end. Raises errors.MalformedBody."""
        if delivery.kind == messages.TrainDone.TYPE:
            return Done(succeeded(messages.TrainDone.decode(delivery.body)))
        return None

    def _hear(self, delivery: Delivery) -> Outcome | None:
        try:
            if delivery.kind == messages.TrainProgress.TYPE:
                self._progress(messages.TrainProgress.decode(delivery.body))
                return None
            ended = self._end(delivery)
            if ended is not None:
                return ended
            if delivery.kind == messages.Failure.TYPE:
                return _failed(messages.Failure.decode(delivery.body).error)
        except errors.MalformedBody:
            return Failed(errors.InternalError().to_body(), final=False)
        return None  # a newer trainer may say more than we know

    def _progress(self, said: messages.TrainProgress) -> None:
        now = self._filter.admit(said)
        if now is None:
            return
        job = self._held.job
        try:
            kept = self._leases.progress(
                job.job_id, job.epoch, fraction=now.fraction, stage=now.stage, message=now.message
            )
        except errors.LedgerUnavailable:
            self._filter.forget()  # progress can wait; the training goes on
            return
        if not kept:
            self._held.lose()
            return
        logs.log("job.progressed", level="DEBUG", job_id=job.job_id, fraction=now.fraction)

    def _await_broker(self) -> Interrupted | None:
        """Wait until the broker is back; however long it takes, the job has not failed."""
        while not self._rpc.wait_connected(POLL_S):
            interrupted = self._interrupted()
            if interrupted is not None:
                return interrupted
        self._pause(POLL_S)
        return self._interrupted()

    def _refused(self, error: errors.NotAnswered) -> Outcome | None:
        self._refusals += 1
        if self._refusals > REFUSALS:
            return Failed(error.to_body(), final=False)
        self._pause(min(_PAUSE_MAX_S, POLL_S * self._refusals))
        return self._interrupted()

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def _failed(body: errors.ErrorBody) -> Outcome:
    error = errors.from_body(body)
    if isinstance(error, errors.Cancelled):
        return Interrupted(cancel=True)
    if isinstance(error, errors.Stopping):
        return Interrupted()
    return Failed(body, final=isinstance(error, _INPUT))
