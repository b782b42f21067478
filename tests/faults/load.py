"""Predictions at a fixed rate, whatever the answers do; each latency counts from when the request was due.

One thread with an event loop. Half of the requests go over kept connections, a quarter over new ones, a
quarter over new ones with ``Connection: close``. Every answer is judged by the oracle.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools
import uvloop

from tests.faults import oracle

DEADLINE_S = 2.0
"""The default deadline of a prediction."""
LATE_S = DEADLINE_S + 0.2
"""An answer may be no later than this after the request was due."""
GIVE_UP_S = 20.0
MOST_OPEN = 2_000
"""Requests under way at most; beyond it one counts as not sent, which is a failure."""

IDLE_S = 10.0
"""A kept connection is not used again after so long without a request: Nginx closes it after 15 s, at any moment."""

_numbers = itertools.count(1)


class Record(NamedTuple):
    """One request: when it was due (monotonic seconds), how long its answer took from then, and what is wrong.

    ``status`` is 0 without an answer; ``problem`` is empty for a right 200.
    """

    due: float
    seconds: float
    status: int
    problem: str


class _Answer(NamedTuple):
    """An answer, and whether it has ``Retry-After``."""

    status: int = 0
    request_id: str = ""
    content: bytes = b""
    says_when: bool = False


@dataclass
class Load:
    """``rate`` requests a second while the block lasts; ``body`` and ``objection`` are the oracle's or like them.

    With ``resends`` a request whose kept connection is closed without an answer goes out once more on a new one,
    as our client does it: an Nginx before 1.27.4 closes kept connections when it is reloaded, also one that a
    request is on its way to.
    """

    url: str
    rate: float = 150.0
    body: Callable[[int], bytes] = oracle.body
    objection: Callable[[int, str, str, bytes], str] = oracle.objection
    resends: bool = False
    records: list[Record] = field(default_factory=list)
    sent: int = 0
    resent: int = 0
    without_when: int = 0
    """Refusals (429, 503) without ``Retry-After``."""

    def __enter__(self) -> Load:
        parts = urlsplit(self.url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._ending = threading.Event()
        self._idle: list[_Connection] = []
        self._open = 0
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(GIVE_UP_S + 10)

    # ------------------------------------------------------------------ what came of it

    @property
    def failed(self) -> list[Record]:
        return [one for one in self.records if one.problem]

    @property
    def wrong(self) -> list[Record]:
        """Those with a 200 that is not the answer to what was asked."""
        return [one for one in self.failed if one.status == 200]

    @property
    def late(self) -> list[Record]:
        return [one for one in self.records if one.seconds > LATE_S]

    def quantile_s(self, share: float) -> float:
        taken = sorted(one.seconds for one in self.records)
        return taken[min(len(taken) - 1, int(share * len(taken)))] if taken else 0.0

    def longest_s(self) -> float:
        return max((one.seconds for one in self.records), default=0.0)

    def figures(self) -> dict[str, float]:
        return {
            "requests": self.sent,
            "failed": len(self.failed),
            "p50_ms": round(self.quantile_s(0.5) * 1000, 1),
            "p99_ms": round(self.quantile_s(0.99) * 1000, 1),
            "p999_ms": round(self.quantile_s(0.999) * 1000, 1),
            "longest_ms": round(self.longest_s() * 1000),
        }

    def defects(self, *, may_refuse: bool = False) -> list[str]:
        """What no fault may cause: a failure (with ``may_refuse``: other than 503 and 429), or no end at all."""
        bad = [one for one in self.failed if not (may_refuse and one.status in (429, 503))]
        counted = Counter(f"{one.status or 'no answer'}: {one.problem[:160]}" for one in bad)
        found = [f"{count} x {what}" for what, count in counted.most_common(8)]
        if self.without_when:
            found.append(f"{self.without_when} refusals without Retry-After")
        if self.sent != len(self.records):
            found.append(f"{self.sent - len(self.records)} requests without any end")
        return found

    def slow(self) -> list[str]:
        """Answers that came after their deadline."""
        return (
            [f"{len(self.late)} answers later than {LATE_S} s, at most {self.longest_s():.2f} s"] if self.late else []
        )

    # ------------------------------------------------------------------ on the thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._send_all())

    async def _send_all(self) -> None:
        due = time.monotonic()
        pending: set[asyncio.Task[None]] = set()
        while not self._ending.is_set():
            number = next(_numbers)
            self.sent += 1
            if self._open >= MOST_OPEN:
                self.records.append(Record(due, 0.0, 0, "not sent: too many under way"))
            else:
                task = asyncio.create_task(self._one(number, due))
                pending.add(task)
                task.add_done_callback(pending.discard)
            due += 1 / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*pending)
        for connection in self._idle:
            connection.transport.close()

    async def _one(self, number: int, due: float) -> None:
        x = number % (oracle.STEP // 2)
        request_id = f"load-{number}"
        kept, close = number % 4 < 2, number % 4 == 3
        answer, trouble = _Answer(), ""
        self._open += 1
        try:
            async with asyncio.timeout(GIVE_UP_S):
                head = _head(request_id, close)
                try:
                    answer = await self._ask(kept, head, self.body(x))
                except ConnectionResetError:
                    if not (kept and self.resends):
                        raise
                    self.resent += 1
                    answer = await self._ask(False, head, self.body(x))
        except TimeoutError:
            trouble = f"no answer within {GIVE_UP_S} s"
        except OSError as error:
            trouble = f"{type(error).__name__}: {error}"
        finally:
            self._open -= 1
        if not trouble:
            right = answer.status == 200
            trouble = self.objection(x, request_id, *answer[1:3]) if right else _told(answer.content)
        self.without_when += answer.status in (429, 503) and not answer.says_when
        self.records.append(Record(due, time.monotonic() - due, answer.status, trouble))

    async def _ask(self, kept: bool, head: bytes, body: bytes) -> _Answer:
        connection = await self._connection(kept)
        answer = await connection.ask(head, body)
        self._put_back(connection, kept)
        return answer

    async def _connection(self, kept: bool) -> _Connection:
        while kept and self._idle:
            connection = self._idle.pop()
            if not connection.closed and time.monotonic() - connection.idle_since < IDLE_S:
                return connection
            connection.transport.close()
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(_Connection, self._host, self._port)
        return made

    def _put_back(self, connection: _Connection, kept: bool) -> None:
        if kept and not connection.closed:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.transport.close()


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    transport: asyncio.Transport
    closed = False
    idle_since = 0.0

    def __init__(self) -> None:
        self._answer: asyncio.Future[_Answer] | None = None

    async def ask(self, head: bytes, body: bytes) -> _Answer:
        """The answer. Raises ConnectionError."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._id, self._body, self._says_when = "", b"", False
        if self.closed:
            raise ConnectionResetError("closed before it was asked")
        self.transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._fail(ConnectionResetError(f"closed without an answer ({exc})"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-request-id":
            self._id = value.decode("latin-1")
        self._says_when |= name.lower() == b"retry-after"

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.closed = True
        if self._answer is not None and not self._answer.done():
            answer = _Answer(self._parser.get_status_code(), self._id, self._body, self._says_when)
            self._answer.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _head(request_id: str, close: bool) -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nHost: stack\r\nContent-Type: application/json\r\nX-Request-ID: "
        + request_id.encode()
        + (b"\r\nConnection: close\r\n" if close else b"\r\n")
    )


def _told(content: bytes) -> str:
    return content[:200].decode(errors="replace").partition('"request_id"')[0] or "an empty answer"
