"""Sends calls and waits for them in an event loop: the twin of ``warren.transport``.

Between ``AsyncClient`` and httpx.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import anyio
import anyio.to_thread
import httpx

from warren import answers, calls, connection, errors
from warren.calls import Call
from warren.connection import Target
from warren.events import SILENCE_S, Parser
from warren.transport import FOLLOWING, check_time

T = TypeVar("T")


class AsyncTransport:
    """One gateway, reached from one event loop."""

    def __init__(self, target: Target, http: httpx.AsyncBaseTransport | None = None) -> None:
        """``http`` replaces the network, for tests of what is not the network."""
        self.target = target
        self._http = httpx.AsyncClient(transport=http, **target.options())

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def run(self, call: Call[T]) -> T:
        """Make a call, and again as its retries allow. Raises errors.ApiError and errors.NotAnswered kinds."""
        began, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                return await self._once(call)
            except errors.WarrenError as error:
                pause_s = call.retries.pause_s(error, attempt, time.monotonic() - began)
                if pause_s is None:
                    raise
            await anyio.sleep(pause_s)

    async def upload(self, path: Path, media: str, sent: Callable[[int], None] | None) -> answers.Dataset:
        """Stream a file; ``sent`` hears how many bytes went out since it last heard. Raises OSError too."""
        file = await anyio.to_thread.run_sync(path.open, "rb")
        try:
            return await self.upload_open(file, os.fstat(file.fileno()).st_size, media, sent)
        finally:
            file.close()

    async def upload_open(
        self, file: BinaryIO, size: int, media: str, sent: Callable[[int], None] | None = None
    ) -> answers.Dataset:
        """Stream ``size`` bytes of an open file."""
        headers = {"content-type": media, "content-length": str(size)}
        read = calls.reader(answers.Dataset)
        call = Call("POST", "/datasets", read, headers=headers, wait_s=connection.UPLOAD_WAIT_S)
        return await self._once(call, _pieces(file, sent))

    async def download(self, call: Call[None], write: Callable[[bytes], object]) -> None:
        """Stream the answer of a call to ``write``; what went before an error is to be thrown away."""
        with connection.translated(self.target):
            async with self._http.stream(call.method, call.path, timeout=connection.times(call.wait_s)) as answer:
                if answer.status_code != 200:
                    raise connection.refused(answer.status_code, answer.headers, await answer.aread())
                async for piece in answer.aiter_bytes():
                    await anyio.to_thread.run_sync(write, piece)

    async def events(self, job_id: str, after: int = 0, timeout_s: float | None = None) -> AsyncIterator[answers.Event]:
        """A job's events behind number ``after``, up to its end; a stream that breaks is taken up again.

        Raises errors.TimedOut after ``timeout_s``, and what stands in the way for good.
        """
        parser = Parser(after)
        end = None if timeout_s is None else time.monotonic() + timeout_s
        began, attempt = time.monotonic(), 0
        while True:
            try:
                async for event in self._stream(job_id, parser, end):
                    yield event
                    if event.name in answers.ENDED:
                        return
                if parser.complete:
                    return
                broken: errors.WarrenError = errors.ConnectionFailed("The event stream ended before the job.")
            except errors.WarrenError as error:
                broken = error
            check_time(end, job_id)
            if parser.heard:
                began, attempt = time.monotonic(), 0
            attempt += 1
            pause_s = FOLLOWING.pause_s(broken, attempt, time.monotonic() - began)
            if pause_s is None:
                raise broken
            await anyio.sleep(pause_s)

    async def _stream(self, job_id: str, parser: Parser, end: float | None) -> AsyncIterator[answers.Event]:
        wait_s = SILENCE_S if end is None else max(0.1, min(SILENCE_S, end - time.monotonic()))
        parser.start()
        path = f"/jobs/{job_id}/events"
        with connection.translated(self.target):
            request = self._http.stream("GET", path, headers=parser.headers(), timeout=connection.times(wait_s))
            async with request as answer:
                if answer.status_code == 204:
                    parser.complete = True
                    return
                if answer.status_code != 200:
                    raise connection.refused(answer.status_code, answer.headers, await answer.aread())
                async for line in answer.aiter_lines():
                    check_time(end, job_id)
                    for event in parser.take(line):
                        yield event

    async def _once(self, call: Call[T], content: AsyncIterator[bytes] | None = None) -> T:
        body = connection.Body(call.wait_s if content is None else float("inf"))
        with connection.translated(self.target):
            async with self._http.stream(
                call.method,
                call.path,
                content=call.content if content is None else content,
                headers=dict(call.headers),
                timeout=connection.times(call.wait_s),
            ) as answer:
                async for piece in answer.aiter_bytes():
                    body.add(piece)
        return connection.finish(call, answer.status_code, answer.headers, body.whole())


async def _pieces(file: BinaryIO, sent: Callable[[int], None] | None) -> AsyncIterator[bytes]:
    while piece := await anyio.to_thread.run_sync(file.read, connection.UPLOAD_PIECE_BYTES):
        yield piece
        if sent is not None:
            sent(len(piece))
