"""Sends cases over many connections from one process, as fast as Python can.

From a list of cases to a scoreboard. Each connection is a protocol of the event loop with a
parser in C (httptools), sends one request at a time and keeps its connection, but for a client
that leaves: it closes in the middle and comes again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

from loadtests.mixed.cases import Case
from loadtests.mixed.judging import Scoreboard

TIMEOUT_MS = 30_000
"""Deadline that every request names, in milliseconds: overload must not show as a wrong answer."""
STALL_S = 40.0
"""Seconds without any answer after which the run is given up."""
LEAVE_WITHIN_S = 0.02
"""A leaving client closes at most so many seconds after it asked: the request is then anywhere on its way."""


class Run:
    """All connections of one run and what they share."""

    def __init__(self, url: str, cases: Sequence[Case], connections: int) -> None:
        """``url`` is plain HTTP, such as ``http://127.0.0.1:8080``."""
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.board = Scoreboard()
        self.cases: Iterator[tuple[int, Case]] = iter(enumerate(cases))
        self.moved_at = 0.0
        self._connections = connections
        self._open = 0
        self._done = asyncio.Event()
        self._reopening: set[asyncio.Task[None]] = set()

    async def all(self) -> Scoreboard:
        """Send everything. Raises TimeoutError when nothing moves for STALL_S, OSError without a server."""
        started_at = self.moved_at = time.monotonic()
        await asyncio.gather(*(self.open() for _ in range(self._connections)))
        while not self._done.is_set():
            try:
                await asyncio.wait_for(self._done.wait(), 1.0)
            except TimeoutError:
                if time.monotonic() - self.moved_at > STALL_S:
                    raise TimeoutError(f"no answer for {STALL_S:.0f} s; so far:\n{self.board}") from None
        self.board.elapsed_s = time.monotonic() - started_at
        return self.board

    async def open(self) -> None:
        """One more connection. Raises OSError."""
        self._open += 1
        await asyncio.get_running_loop().create_connection(lambda: Connection(self), self.host, self.port)

    def closed(self, finished: bool) -> None:
        """A connection is gone; another one takes its place unless there is nothing left to send."""
        self._open -= 1
        if finished:
            if not self._open:
                self._done.set()
            return
        task = asyncio.get_running_loop().create_task(self.open())
        self._reopening.add(task)
        task.add_done_callback(self._reopening.discard)


class Connection(asyncio.Protocol):
    """One connection: a case, its answer, the next case."""

    def __init__(self, run: Run) -> None:
        """``run`` gives the cases and takes the answers."""
        self._run = run
        self._case: Case | None = None
        self._finished = False
        self._leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio)."""
        # uvloop's transports fit the type without deriving from it.
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._next()

    def data_received(self, data: bytes) -> None:
        """Part of an answer (asyncio)."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a case that still waits has no answer (asyncio)."""
        if self._case is not None:
            if self._case.leaves:
                self._run.board.left += 1
            else:
                self._run.board.miss(self._case, self._id, f"connection lost: {exc}")
        self._run.closed(self._finished)

    def on_message_begin(self) -> None:
        """An answer begins (httptools)."""
        self._header_id, self._body = "", b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of the answer (httptools)."""
        if name.lower() == b"x-request-id":
            self._header_id = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A piece of the body (httptools)."""
        self._body += body

    def on_message_complete(self) -> None:
        """The answer is whole: judge it and go on (httptools)."""
        case, now = self._case, time.monotonic()
        if case is None:
            return
        self._case = None
        self._run.moved_at = now
        if case.leaves:
            # Its answer was quicker than its leaving.
            self._run.board.left += 1
            if self._leaving is not None:
                self._leaving.cancel()
        else:
            self._run.board.latencies.append(now - self._sent_at)
            self._run.board.judge(case, self._id, self._parser.get_status_code(), self._header_id, self._body)
        if self._parser.should_keep_alive():
            self._next()
        else:
            self._transport.close()

    def _next(self) -> None:
        found = next(self._run.cases, None)
        if found is None:
            self._finished = True
            self._transport.close()
            return
        number, self._case = found
        self._id = f"mixed-{number}"
        self._sent_at = time.monotonic()
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {self._run.host}\r\nContent-Type: application/json\r\n"
            f"X-Request-ID: {self._id}\r\nX-Request-Timeout-Ms: {TIMEOUT_MS}\r\n"
            f"Content-Length: {len(self._case.body)}\r\n\r\n"
        ).encode()
        body = self._case.body
        if self._case.kind == "body cut off":
            body = body[: len(body) // 2]
        self._transport.write(head + body)
        if self._case.leaves:
            after_s = LEAVE_WITHIN_S * (number % 10) / 10
            self._leaving = asyncio.get_running_loop().call_later(after_s, self._transport.abort)


def send(url: str, cases: Sequence[Case], connections: int) -> Scoreboard:
    """Send all cases over so many connections and judge the answers. Raises TimeoutError and OSError."""

    async def run() -> Scoreboard:
        return await Run(url, cases, connections).all()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())
