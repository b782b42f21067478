"""End a job whose training is not followed to its own end: cancelled, or failed once too often.

Between the ledger and the trainer's queue of changes. The volume decides: ``Settle`` answers
with the version the job has published, or leaves a mark that forbids one for ever. Only then
may a job be called cancelled or failed, so no version appears after that was said.
"""

from __future__ import annotations

import threading
from typing import Any

from api.jobs.leases import Held
from api.ledger.leases import Ended
from wire import errors, logs, messages, replies, settings, topology
from wire.client import ReplyStream, RpcClient
from wire.deadlines import Deadline

SETTLE_S = 5.0
"""Seconds for the trainer's answer; its queue of changes is never blocked by a training."""
_LAST_WORDS_S = 10.0
_POLL_S = 0.25


def succeeded(done: messages.TrainDone) -> Ended:
    """The end of a job whose version is published."""
    result: dict[str, Any] = {
        "model": done.model,
        "version": done.version,
        "metrics": done.metrics,
        "promoted": done.promoted,
        "promotion_reason": done.promotion_reason,
    }
    return Ended("succeeded", result=result)


class Settler:
    """Asks the volume how a job ends."""

    def __init__(self, rpc: RpcClient, config: settings.Train, stopping: threading.Event) -> None:
        self._rpc = rpc
        self._stopping = stopping
        # A version that is being warmed and promoted right now is announced within this time.
        self._last_words_s = config.warm_wait_s + _LAST_WORDS_S

    def settle(self, held: Held, *, cancelled: bool) -> Ended | None:
        """How the job ends, or None when nobody could say: it stays to be settled later.

        ``cancelled``: it ends cancelled if it has no version; otherwise failed, with the error
        its row remembers, and a dead letter.
        """
        job = held.job
        question = messages.Settle(model=job.model, job_id=job.job_id)
        try:
            settled = self._rpc.call(
                topology.CHANGES,
                question,
                messages.Settled,
                deadline=Deadline.after(SETTLE_S),
                request_id=job.request_id,
            )
        except errors.WarrenError:
            return None
        if settled.version:
            return succeeded(self._last_words(held, settled))
        self._stop(job.job_id)
        if cancelled:
            return Ended("cancelled")
        error = errors.ErrorBody(job.error_code or "internal_error", job.error_message or "The attempts were used up.")
        return Ended("failed", error=error, dead=True)

    def _stop(self, job_id: str) -> None:
        """Free the trainer; the mark on the volume already forbids what it might still publish."""
        try:
            self._rpc.broadcast(topology.STOP, messages.StopTraining(job_id=job_id))
        except errors.BrokerUnavailable:
            return

    def _last_words(self, held: Held, settled: messages.Settled) -> messages.TrainDone:
        """Ask the trainer again: it answers for a published version, with the promotion's outcome."""
        job = held.job
        deadline = Deadline.after(self._last_words_s)
        try:
            with self._rpc.stream(topology.TRAIN, job.train_request(), request_id=job.request_id) as stream:
                while not (held.lost or self._stopping.is_set() or deadline.expired):
                    delivery = _next(stream)
                    if delivery is not None and delivery.kind != messages.TrainProgress.TYPE:
                        return replies.read(delivery, messages.TrainDone)
        except errors.WarrenError as error:
            logs.log("rpc.failed", level="WARNING", job_id=job.job_id, error=error.code)
        return messages.TrainDone(
            job_id=job.job_id,
            model=job.model,
            version=settled.version,
            metrics=settled.metrics,
            promoted=False,
            promotion_reason="The version is published; what became of its promotion is not known.",
        )


def _next(stream: ReplyStream) -> replies.Delivery | None:
    try:
        return stream.next(_POLL_S)
    except errors.DeadlineExceeded:
        return None
