"""An HTTP client that keeps the answers, which wrk can't: for checks, large bodies and fixed rates.

In come requests as bytes; out go answers with the time each took. HTTP/1.1 over kept connections,
as little of it as the servers here speak, so that the client takes little of the shared cores.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import uvloop

T = TypeVar("T")
TIMEOUT_S = 30.0
"""Longest wait for one answer."""


@dataclass(frozen=True)
class Address:
    """Where requests go, and headers they have besides (each a line)."""

    host: str
    port: int
    path: str
    fields: str = ""

    @classmethod
    def of(cls, url: str) -> Address:
        """The address in ``http://host:port/path``."""
        place, _, path = url.removeprefix("http://").partition("/")
        host, _, port = place.partition(":")
        return cls(host, int(port), f"/{path}")

    def request(self, body: bytes) -> bytes:
        """A POST of ``body`` as it goes over the wire."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
        return f"{head}{self.fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True)
class Answer:
    """What came back for request ``number``. Status 0: no answer. Seconds count from the intended moment."""

    number: int
    status: int
    body: bytes
    seconds: float


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a fast event loop, without collections of garbage.

    One of them goes through every row that is kept for comparing, and the servers' answers wait for it: the stall
    would be counted as theirs.
    """
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)
    finally:
        gc.enable()


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        self._finish(0, b"")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        body = whole(head, self._buffer, end + 4)
        if body is not None:
            self._finish(int(head.split(b" ", 2)[1]), body)

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        if self.transport is None:
            raise ConnectionResetError
        self._buffer.clear()
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiting

    def _finish(self, status: int, body: bytes) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((status, body))


def whole(head: bytes, buffer: bytearray, start: int) -> bytes | None:
    """The body that begins at ``start``, None while it is not complete; ``head`` in small letters."""
    if b"content-length:" in head:
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        return bytes(buffer[start : start + length]) if len(buffer) >= start + length else None
    if not buffer.endswith(b"0\r\n\r\n"):
        return None
    body, at = bytearray(), start
    while True:
        line = buffer.find(b"\r\n", at)
        size = int(bytes(buffer[at:line]), 16) if line > 0 else -1
        if size <= 0:
            return bytes(body) if size == 0 else None
        body += buffer[line + 2 : line + 2 + size]
        at = line + 4 + size


class Caller:
    """One connection to a server, opened again when it is lost."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: _Connection | None = None

    async def ask(self, number: int, request: bytes, due: float | None = None) -> Answer:
        """Send one request; never raises: an answer of status 0 stands for none."""
        begin = due if due is not None else time.perf_counter()
        status, body = 0, b""
        try:
            if self._connection is None or self._connection.transport is None:
                loop = asyncio.get_running_loop()
                _, self._connection = await loop.create_connection(_Connection, self._address.host, self._address.port)
            async with asyncio.timeout(TIMEOUT_S):
                status, body = await self._connection.ask(request)
        except (OSError, TimeoutError):
            self.close()
        return Answer(number, status, body, time.perf_counter() - begin)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.abort()
        self._connection = None


async def in_turn(
    address: Address, bodies: Sequence[bytes], connections: int, duration_s: float, repeat: bool
) -> list[list[Answer]]:
    """Each connection sends the next body once its last is answered; the answers by connection.

    Ends after ``duration_s`` or, unless ``repeat``, when every body was sent once. What is under
    way then is waited for.
    """
    requests = [address.request(body) for body in bodies]
    end, sent = time.perf_counter() + duration_s, iter(range(10**9 if repeat else len(requests)))

    async def line(caller: Caller) -> list[Answer]:
        answers = []
        while time.perf_counter() < end and (number := next(sent, None)) is not None:
            answers.append(await caller.ask(number, requests[number % len(requests)]))
        caller.close()
        return answers

    return await asyncio.gather(*(line(Caller(address)) for _ in range(connections)))


async def at_rate(address: Address, bodies: Sequence[bytes], rate: float, duration_s: float) -> list[Answer]:
    """Requests at a fixed rate, whatever the server does; each one's time counts from when it was due.

    Up to 256 connections; a request that finds none free waits, and its wait counts.
    """
    idle: asyncio.LifoQueue[Caller] = asyncio.LifoQueue()
    callers = [Caller(address) for _ in range(256)]
    for caller in callers:
        idle.put_nowait(caller)
    requests = [address.request(body) for body in bodies]

    async def one(number: int, due: float) -> Answer:
        caller = await idle.get()
        answer = await caller.ask(number, requests[number % len(requests)], due)
        idle.put_nowait(caller)
        return answer

    tasks, begin = [], time.perf_counter()
    for number in range(int(rate * duration_s)):
        due = begin + number / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        tasks.append(asyncio.create_task(one(number, due)))
    # Only of those under way: to gather all of them would hold up the last answers for 40 ms.
    await asyncio.gather(*(task for task in tasks if not task.done()))
    for caller in callers:
        caller.close()
    return [task.result() for task in tasks]
