"""Which waiting predictions make the next batch: pure bookkeeping, no clock, no loop, no broker.

Between the route and the coalescer: entries come in, batches go out. No fixed delay: a batch
leaves when none of its lane is under way, so an idle gateway sends at once and a busy one batches
by itself; while one is under way another may follow when it is large enough to be worth a message
of its own, so that several predictors share what takes long. A lane is one model reference,
so one busy model waits for itself; large requests of a model have a lane of their own, so that
single rows don't wait behind ten thousand.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, NamedTuple, TypeVar

from wire import errors, frames
from wire.settings import Predict

LARGE_BYTES = 64 * 1024
"""A request of more bytes than this is large: hundreds of rows, milliseconds of computing."""
SHARE = 4
"""How much of what is free a lane may hold, as a factor (see ``Policy.admit``)."""


class Reference(NamedTuple):
    """What one batch is for: a version, or an alias when ``version`` is 0.

    ``large`` splits lanes, and so does ``schema``, the version of the batch's frame: requests of other
    protocols never travel with those of POST /predict, which every predictor can read.
    """

    model: str
    version: int
    alias: str
    large: bool = False
    schema: int = frames.SCHEMA


class Entry:
    """One request as the policy sees it: its lane, its weight, and where it stands."""

    __slots__ = ("held", "held_bytes", "message_bytes", "reference", "rows", "size_bytes", "waiting")

    def __init__(self, reference: Reference, rows: int, size_bytes: int, message_bytes: int, held_bytes: int) -> None:
        """``rows`` may be an upper bound, and ``message_bytes`` is one.

        ``size_bytes`` are those of its rows, by which the time it takes is reckoned; ``message_bytes`` what it takes
        of a message, with all that describes them; ``held_bytes`` what it takes of memory while it is held.
        """
        self.reference = reference
        self.rows = rows
        self.size_bytes = size_bytes
        self.message_bytes = message_bytes
        self.held_bytes = held_bytes
        self.held = False
        self.waiting = False


E = TypeVar("E", bound=Entry)


class _Lane(Generic[E]):
    """What one reference has waiting and under way."""

    __slots__ = ("held", "held_bytes", "in_flight", "line", "size_bytes", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.line: deque[E] = deque()
        self.waiting = self.waiting_bytes = 0
        self.held = 0
        self.held_bytes = self.size_bytes = 0
        self.in_flight = 0


class Policy(Generic[E]):
    """The books: who waits, who is under way, and what may leave next."""

    def __init__(self, limits: Predict) -> None:
        """``limits`` are the bounds; all of them are from the settings."""
        self._limits = limits
        self._lanes: dict[Reference, _Lane[E]] = {}
        self.held = 0
        self.held_bytes = 0

    def admit(self, entry: E) -> None:
        """Take an entry in, at the end of its lane. Raises errors.Overloaded.

        A lane may hold at most SHARE times what is free (Choudhury and Hahne, Dynamic queue
        length thresholds, 1998): alone it gets four fifths of the room, and a second model
        always finds some.
        """
        lane = self._lanes.get(entry.reference)
        if lane is None:
            lane = self._lanes[entry.reference] = _Lane()
        free = self._limits.waiting_requests - self.held
        free_bytes = self._limits.waiting_bytes - self.held_bytes
        if (
            free < 1
            or lane.held >= SHARE * free
            or (lane.held and lane.held_bytes + entry.held_bytes > SHARE * (free_bytes - entry.held_bytes))
            or free_bytes < entry.held_bytes
        ):
            self._drop_if_idle(entry.reference, lane)
            raise errors.Overloaded("More predictions are waiting than this replica holds.")
        entry.held = entry.waiting = True
        lane.line.append(entry)
        lane.waiting += 1
        lane.waiting_bytes += entry.size_bytes
        lane.held += 1
        lane.held_bytes += entry.held_bytes
        lane.size_bytes += entry.size_bytes
        self.held += 1
        self.held_bytes += entry.held_bytes

    def take(self, reference: Reference, most_bytes: float = float("inf")) -> list[E]:
        """The next batch of a lane, oldest first; empty when nothing may leave now.

        A batch keeps to the bounds on requests, rows and bytes, but has at least one entry.
        ``most_bytes`` is one more bound, on those of the rows. Every batch taken must be followed by one ``landed``.
        """
        lane = self._lanes.get(reference)
        if lane is None or not self._may_leave(lane):
            return []
        limits = self._limits
        most_requests, most_rows, most_message_bytes = limits.batch_requests, limits.batch_rows, limits.batch_bytes
        batch: list[E] = []
        rows = size_bytes = message_bytes = 0
        while lane.line and len(batch) < most_requests:
            entry = lane.line[0]
            if entry.waiting:
                rows += entry.rows
                size_bytes += entry.size_bytes
                message_bytes += entry.message_bytes
                if batch and (rows > most_rows or size_bytes > most_bytes or message_bytes > most_message_bytes):
                    break
                entry.waiting = False
                lane.waiting_bytes -= entry.size_bytes
                batch.append(entry)
            lane.line.popleft()
        lane.waiting -= len(batch)
        lane.in_flight += 1
        return batch

    def backlog(self, reference: Reference) -> tuple[E | None, int]:
        """Who has waited longest in a lane (None: nobody waits), and its bytes of rows, waiting and under way."""
        lane = self._lanes.get(reference)
        if lane is None:
            return None, 0
        while lane.line and not lane.line[0].waiting:
            lane.line.popleft()
        return (lane.line[0] if lane.line else None), lane.size_bytes

    def landed(self, reference: Reference) -> bool:
        """A batch of this lane gave its place free. Answers whether another may leave now."""
        lane = self._lanes[reference]
        lane.in_flight -= 1
        self._drop_if_idle(reference, lane)
        return self._may_leave(lane)

    def release(self, entry: E) -> None:
        """The request is done, whatever its end: it is held no more. Harmless when repeated."""
        if not entry.held:
            return
        entry.held = False
        lane = self._lanes[entry.reference]
        if entry.waiting:
            entry.waiting = False
            lane.waiting -= 1
            lane.waiting_bytes -= entry.size_bytes
        lane.held -= 1
        lane.held_bytes -= entry.held_bytes
        lane.size_bytes -= entry.size_bytes
        self.held -= 1
        self.held_bytes -= entry.held_bytes
        self._drop_if_idle(entry.reference, lane)

    def _may_leave(self, lane: _Lane[E]) -> bool:
        """A first batch always leaves; further ones when they are worth their message."""
        if not lane.in_flight:
            return lane.waiting > 0
        return lane.waiting_bytes >= self._limits.worth_bytes and lane.in_flight < self._limits.batches_in_flight

    @property
    def lanes(self) -> int:
        """How many lanes there are; none when nothing is held or under way."""
        return len(self._lanes)

    def _drop_if_idle(self, reference: Reference, lane: _Lane[E]) -> None:
        if not lane.held and not lane.in_flight:
            self._lanes.pop(reference, None)
