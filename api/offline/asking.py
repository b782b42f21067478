"""Ask a trainer about a table of an offline prediction, and follow it as a training is followed.

Between an attempt and topology.TABLES: the same patience with a broker that is away, a request that got
lost and a trainer that falls silent.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import msgspec

from api.jobs.following import Done, Follower, Outcome
from api.jobs.leases import Held
from api.jobs.progress import ProgressFilter
from api.ledger.leases import Ended, Leases
from wire import messages, settings, topology
from wire.client import RpcClient
from wire.replies import Delivery


@dataclass(frozen=True)
class Answer:
    """The trainer has done it; ``body`` is the message that says so."""

    body: bytes


class TableFollower(Follower):
    """Follows one request; ``ask`` once.

    ``span`` is the part of the job's progress that this request stands for; ``progress`` is the filter
    of the whole attempt, so that the fraction never falls.
    """

    queue = topology.TABLES

    def __init__(
        self,
        rpc: RpcClient,
        leases: Leases,
        config: settings.Train,
        held: Held,
        stopping: threading.Event,
        *,
        asked: messages.Message,
        expect: type[messages.Message],
        span: tuple[float, float],
        progress: ProgressFilter,
    ) -> None:
        self._asked = asked
        super().__init__(rpc, leases, config, held, stopping)
        self._expect = expect
        self._span = span
        self._filter = progress
        self._answer: Answer | None = None

    def ask(self) -> Outcome | Answer:
        """The answer, or how the attempt ended without one."""
        outcome = self.run()
        return outcome if self._answer is None else self._answer

    def _question(self) -> messages.Message:
        return self._asked

    def _end(self, delivery: Delivery) -> Outcome | None:
        if delivery.kind != self._expect.TYPE:
            return None
        self._expect.decode(delivery.body)
        self._answer = Answer(delivery.body)
        return Done(Ended("succeeded"))

    def _progress(self, said: messages.TrainProgress) -> None:
        start, stop = self._span
        super()._progress(msgspec.structs.replace(said, fraction=start + (stop - start) * said.fraction))
