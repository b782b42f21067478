"""Blocks under way to predictors: sent a few at a time, answered in order, sent again where need be.

Between the draft's rows and the output's lines. What is sent is a prediction's frame on the bulk queue. A
block may be sent several times (a connection was lost, a predictor died), so the same rows may be computed
twice; they are written once. Where a block has no answer because of a row in it, it is halved until that
row is found.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from api.offline.lines import NOTHING, Answers
from api.offline.order import Order
from wire import errors, frames, messages, topology
from wire.client import ReplyStream, RpcClient
from wire.replies import Delivery
from wire.row_blocks import Block

POLL_S: Final = 0.25
"""Seconds between two looks at whether to go on."""

REFUSALS: Final = 60
"""How often in a row a full or missing queue may refuse blocks before the attempt has failed."""

MOST_HALVED: Final = 1_000
"""Rows that halving may find in one attempt; a job with more of them fails: their input is to be mended."""

MOST_CRASHES: Final = 24
"""How often halving may follow a predictor's end in one attempt: enough to find one row that ends them."""

_PAUSE_MAX_S = 5.0
_ROW = (errors.BadInput, errors.TooLarge, errors.RetryAlone)
_rows = msgspec.json.Decoder(list[msgspec.Raw])


class _Members(msgspec.Struct):
    """A reply's fragment between braces; the answers stay JSON."""

    predictions: list[msgspec.Raw]
    probabilities: list[msgspec.Raw] = []


class Stop(Exception):
    """Whoever asked ends here: cancelled, stopping, or without a lease."""


class Answered(NamedTuple):
    """A block and what was said of its readable rows."""

    block: Block
    answers: Answers


@dataclass
class _Pending:
    """Rows on their way: where their answer will come, and how long they have been silent."""

    rows: bytes
    count: int
    stream: ReplyStream | None = None
    sent_at: float = 0.0
    lost_s: float = 0.0
    redelivered: bool = False


@dataclass
class Window:
    """The blocks of one attempt; for one thread.

    ``check`` raises Stop when there is no use in going on; ``size`` is how many blocks are under way;
    after ``silence_s`` without a word, rows that no queue holds are sent again.
    """

    rpc: RpcClient
    order: Order
    request_id: str
    size: int
    silence_s: float
    check: Callable[[], None]
    _refusals: int = field(default=0, init=False)
    _halved: int = field(default=0, init=False)
    _crashes: int = field(default=0, init=False)

    def answers(self, blocks: Iterable[Block]) -> Iterator[Answered]:
        """Every block with its answers, in order.

        Raises Stop, what ``check`` raises, errors.BadInput (too many rows without an answer, or no
        probabilities), and what a whole block failed with.
        """
        under_way: deque[tuple[Block, _Pending | None]] = deque()
        try:
            for block in blocks:
                under_way.append((block, self._begin(block)))
                if len(under_way) >= self.size:
                    yield self._end(*under_way.popleft())
            while under_way:
                yield self._end(*under_way.popleft())
        finally:
            for _, pending in under_way:
                if pending is not None:
                    _leave(pending)

    def _begin(self, block: Block) -> _Pending | None:
        if not block.readable:
            return None
        pending = _Pending(block.rows, block.readable, lost_s=self.silence_s)
        self._send(pending)
        return pending

    def _end(self, block: Block, pending: _Pending | None) -> Answered:
        return Answered(block, NOTHING if pending is None else self._wait(pending))

    def _wait(self, pending: _Pending) -> Answers:
        """The answers of these rows, however often they have to be sent."""
        while True:
            self.check()
            try:
                return self._read(self._next(pending), pending.count)
            except errors.DeadlineExceeded:
                self._send_lost_again(pending)
            except errors.BrokerUnavailable:
                self._await_broker()
                self._send(pending)
            except errors.NotAnswered as error:
                self._refused(error)
                self._send(pending)
            except errors.RetryAlone:
                if pending.redelivered:
                    return self._halve(pending, errors.InferenceCrashed())
                pending.redelivered = True
                self._send(pending)
            except (errors.BadInput, errors.TooLarge) as error:
                return self._halve(pending, error)

    def _next(self, pending: _Pending) -> Delivery:
        if pending.stream is None:
            raise errors.BrokerUnavailable
        delivery = pending.stream.next(POLL_S)
        _leave(pending)
        self._refusals = 0
        return delivery

    def _read(self, delivery: Delivery, count: int) -> Answers:
        """The answers in a reply. Raises the error it carries."""
        if delivery.kind == messages.Failure.TYPE:
            raise errors.from_body(messages.Failure.decode(delivery.body).error)
        try:
            header, blobs = frames.decode_reply(delivery.body)
            failed = header.error or header.items[0].error
            members = _Members([]) if failed else msgspec.json.decode(b"{%b}" % bytes(blobs[0]), type=_Members)
        except (errors.MalformedBody, msgspec.DecodeError, IndexError) as error:
            raise errors.InternalError("a reply that cannot be read") from error
        if failed:
            raise errors.from_body(failed)
        shares = members.probabilities
        if len(members.predictions) != count or (self.order.probabilities and len(shares) != count):
            raise errors.InternalError("a reply with another number of rows")
        return Answers(list(map(bytes, members.predictions)), list(map(bytes, shares)), {})

    def _send(self, pending: _Pending) -> None:
        """Send rows; where that fails at once, ``_next`` meets the same and waits for better times."""
        _leave(pending)
        order = self.order
        item = frames.BatchItem(len(pending.rows), 0, probabilities=order.probabilities, request_id=self.request_id)
        body = frames.encode(frames.BatchHeader(order.model, (item,), order.version), [pending.rows])
        pending.sent_at = time.monotonic()
        try:
            pending.stream = self.rpc.stream_raw(topology.BULK, body, frames.BATCH_TYPE, request_id=self.request_id)
        except errors.NotAnswered:
            pending.stream = None

    def _send_lost_again(self, pending: _Pending) -> None:
        """Send rows again that nobody has, as far as the queue tells; ever more rarely, for a predictor may."""
        if time.monotonic() - pending.sent_at < pending.lost_s:
            return
        pending.lost_s *= 2
        try:
            waiting = self.rpc.queue_state(topology.BULK).messages
        except errors.NotAnswered:
            return  # if the connection is lost, ``_next`` meets it; if the broker was only slow, nothing has happened
        if waiting == 0:
            self._send(pending)

    def _await_broker(self) -> None:
        while not self.rpc.wait_connected(POLL_S):
            self.check()
        self._pause(POLL_S)

    def _refused(self, error: errors.NotAnswered) -> None:
        self._refusals += 1
        if self._refusals > REFUSALS:
            raise error
        self._pause(min(_PAUSE_MAX_S, POLL_S * self._refusals))

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        while (left_s := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left_s, POLL_S))

    # ------------------------------------------------------------------ rows without an answer

    def _halve(self, pending: _Pending, error: errors.WarrenError) -> Answers:
        """Find the rows that have no answer. Raises errors.BadInput and errors.InferenceCrashed."""
        if any(place.at == "probabilities" for place in error.errors):
            raise error
        self._bound(error)
        rows = _rows.decode(pending.rows)
        if len(rows) == 1:
            self._halved += 1
            problem = error.errors[0].problem if error.errors else error.message
            return Answers([b""], [b"[]"] if self.order.probabilities else [], {0: problem})
        middle = len(rows) // 2
        left, right = (self._again(half) for half in (rows[:middle], rows[middle:]))
        problems = left.problems | {middle + row: problem for row, problem in right.problems.items()}
        return Answers([*left.predictions, *right.predictions], [*left.shares, *right.shares], problems)

    def _again(self, rows: list[msgspec.Raw]) -> Answers:
        pending = _Pending(b"[" + b",".join(map(bytes, rows)) + b"]", len(rows), lost_s=self.silence_s)
        self._send(pending)
        return self._wait(pending)

    def _bound(self, error: errors.WarrenError) -> None:
        if isinstance(error, errors.InferenceCrashed):
            self._crashes += 1
            if self._crashes > MOST_CRASHES:
                raise error
        if self._halved >= MOST_HALVED:
            raise errors.BadInput(
                f"The model has no answer for more than {MOST_HALVED} rows.",
                hint="Are there numbers of another size than in the training?",
            )


def _leave(pending: _Pending) -> None:
    if pending.stream is not None:
        pending.stream.close()
        pending.stream = None
