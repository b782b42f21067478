"""The other end of a Load: ``python -m tests.faults.sender`` sends predictions at a fixed rate and judges the answers.

A process of its own: in the harness's it would wait for whatever else the harness does, and say that it was the stack.
Its orders are a line of JSON on stdin, whose end ends the load; what became of the requests are lines on stdout, the
first of them once it can begin. Half of the requests go over kept connections, a quarter over new ones, a quarter over
new ones with ``Connection: close``. Every answer is judged by the oracle.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import importlib
import itertools
import sys
import time
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

GIVE_UP_S = 20.0
MOST_OPEN = 2_000
"""Requests under way at most; beyond it one counts as not sent, which is a failure."""
_IDLE_S = 10.0
"""A kept connection is not used again after so long without a request: Nginx closes it after 15 s, at any moment."""
_TELL_EVERY_S = 0.02
_PIPE_BYTES = 1024 * 1024
"""Room for what a harness that is busy for seconds has not read yet."""
_MOST_X = 5_000_000


class Record(NamedTuple):
    """One request: when it was due (monotonic seconds), how long its answer took from then, and what is wrong.

    ``status`` is 0 without an answer; ``problem`` is empty for a right 200.
    """

    due: float
    seconds: float
    status: int
    problem: str


class Orders(msgspec.Struct, frozen=True):
    """What to do; ``oracle`` names a module with ``body`` and ``objection``; numbers count from ``first`` on.

    ``deadline_ms`` is the deadline that each request names, 0 for none.
    """

    url: str
    rate: float
    first: int
    resends: bool
    oracle: str
    deadline_ms: int


class Told(msgspec.Struct):
    """What became of requests since the last time, and counts from the beginning on.

    ``without_when``: refusals (429, 503) without ``Retry-After``.
    """

    records: list[Record] = []
    sent: int = 0
    resent: int = 0
    without_when: int = 0


class _Answer(NamedTuple):
    """An answer, and whether it has ``Retry-After``."""

    status: int = 0
    request_id: str = ""
    content: bytes = b""
    says_when: bool = False


class Sender:
    """Sends what the orders say until ``ending`` is set."""

    def __init__(self, orders: Orders) -> None:
        parts = urlsplit(orders.url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._orders = orders
        self._oracle: Any = importlib.import_module(orders.oracle)
        self._numbers = itertools.count(orders.first)
        self._told = Told()
        self._idle: list[_Connection] = []
        self._open = 0

    async def run(self) -> None:
        """Send until stdin ends, then wait for what is under way."""
        ending = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ending.set)
        telling = asyncio.create_task(self._tell_regularly())
        await self._send_all(ending)
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        self._tell()

    async def _tell_regularly(self) -> None:
        while True:
            self._tell()
            await asyncio.sleep(_TELL_EVERY_S)

    def _tell(self) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(self._told) + b"\n")
        sys.stdout.buffer.flush()
        self._told.records = []

    async def _send_all(self, ending: asyncio.Event) -> None:
        due = time.monotonic()
        pending: set[asyncio.Task[None]] = set()
        while not ending.is_set():
            number = next(self._numbers)
            self._told.sent += 1
            if self._open >= MOST_OPEN:
                self._told.records.append(Record(due, 0.0, 0, "not sent: too many under way"))
            else:
                task = asyncio.create_task(self._one(number, due))
                pending.add(task)
                task.add_done_callback(pending.discard)
            due += 1 / self._orders.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*pending)
        for connection in self._idle:
            connection.transport.close()

    async def _one(self, number: int, due: float) -> None:
        x = number % _MOST_X
        request_id = f"load-{number}"
        kept, close = number % 4 < 2, number % 4 == 3
        answer, trouble = _Answer(), ""
        self._open += 1
        try:
            async with asyncio.timeout(GIVE_UP_S):
                head, body = _head(request_id, close, self._orders.deadline_ms), self._oracle.body(x)
                try:
                    answer = await self._ask(kept, head, body)
                except ConnectionResetError:
                    if not (kept and self._orders.resends):
                        raise
                    self._told.resent += 1
                    answer = await self._ask(False, head, body)
        except TimeoutError:
            trouble = f"no answer within {GIVE_UP_S} s"
        except Exception as error:
            # Of ours too: who is not judged must not count as right.
            trouble = f"{type(error).__name__}: {error}"
        finally:
            self._open -= 1
        taken_s = time.monotonic() - due
        if not trouble:
            trouble = self._objection(x, request_id, answer)
        self._told.without_when += answer.status in (429, 503) and not answer.says_when
        self._told.records.append(Record(due, taken_s, answer.status, trouble))

    def _objection(self, x: int, request_id: str, answer: _Answer) -> str:
        if answer.status != 200:
            return _said(answer.content)
        try:
            return str(self._oracle.objection(x, request_id, answer.request_id, answer.content))
        except Exception as error:
            return f"the oracle failed: {type(error).__name__}: {error}"

    async def _ask(self, kept: bool, head: bytes, body: bytes) -> _Answer:
        connection = await self._connection(kept)
        answer = await connection.ask(head, body)
        self._put_back(connection, kept)
        return answer

    async def _connection(self, kept: bool) -> _Connection:
        while kept and self._idle:
            connection = self._idle.pop()
            if not connection.closed and time.monotonic() - connection.idle_since < _IDLE_S:
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


def _head(request_id: str, close: bool, deadline_ms: int) -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: "
        + request_id.encode()
        + (b"\r\nX-Request-Timeout-Ms: %d" % deadline_ms if deadline_ms else b"")
        + (b"\r\nConnection: close\r\n" if close else b"\r\n")
    )


def _said(content: bytes) -> str:
    return content[:200].decode(errors="replace").partition('"request_id"')[0] or "an empty answer"


def main() -> None:
    """The process."""
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    with suppress(OSError):
        fcntl.fcntl(sys.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    sender = Sender(orders)
    # Looking for garbage would be counted as a pause of the stack.
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(sender.run())


if __name__ == "__main__":
    main()
