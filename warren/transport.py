"""Sends calls and waits for them in this thread; many threads may share one.

Between ``Client`` and httpx. One pool of connections, kept open between calls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx

from warren import answers, calls, connection, errors
from warren.calls import Call
from warren.connection import Target
from warren.events import SILENCE_S, Parser
from warren.patience import Retries

T = TypeVar("T")

FOLLOWING = Retries(attempts=12, total_s=300, first_pause_s=0.5, longest_pause_s=10)
"""How often an event stream is taken up again without a sign of life: a new event, or a comment."""


class Transport:
    """One gateway, reached from any thread."""

    def __init__(self, target: Target, http: httpx.BaseTransport | None = None) -> None:
        """``http`` replaces the network, for tests of what is not the network."""
        self.target = target
        self._http = httpx.Client(transport=http, **target.options())
        self._closed = threading.Event()

    def close(self) -> None:
        """End pauses between attempts, and close every connection."""
        self._closed.set()
        self._http.close()

    def run(self, call: Call[T]) -> T:
        """Make a call, and again as its retries allow. Raises errors.ApiError and errors.NotAnswered kinds."""
        began, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                return self._once(call)
            except errors.WarrenError as error:
                pause_s = call.retries.pause_s(error, attempt, time.monotonic() - began)
                if pause_s is None or self._closed.wait(pause_s):
                    raise

    def ping(self) -> dict[str, str]:
        """The headers of GET /livez. Raises as ``run``."""
        with connection.translated(self.target):
            answer = self._http.get("/livez", timeout=connection.times(connection.CONNECT_S))
        if answer.status_code != 200:
            raise connection.refused(answer.status_code, answer.headers, answer.content)
        return dict(answer.headers)

    def upload(self, path: Path, media: str, sent: Callable[[int], None] | None) -> answers.Dataset:
        """Stream a file; ``sent`` hears how many bytes went out since it last heard. Raises OSError too."""
        with path.open("rb") as file:
            return self.upload_open(file, path.stat().st_size, media, sent)

    def upload_open(
        self, file: BinaryIO, size: int, media: str, sent: Callable[[int], None] | None = None
    ) -> answers.Dataset:
        """Stream ``size`` bytes of an open file."""
        headers = {"content-type": media, "content-length": str(size)}
        read = calls.reader(answers.Dataset)
        call = Call("POST", "/datasets", read, headers=headers, wait_s=connection.UPLOAD_WAIT_S)
        return self._once(call, _pieces(file, sent))

    def download(self, call: Call[None], write: Callable[[bytes], object]) -> None:
        """Stream the answer of a call to ``write``; what went before an error is to be thrown away."""
        with (
            connection.translated(self.target),
            self._http.stream(call.method, call.path, timeout=connection.times(call.wait_s)) as answer,
        ):
            if answer.status_code != 200:
                raise connection.refused(answer.status_code, answer.headers, answer.read())
            for piece in answer.iter_bytes():
                write(piece)

    def events(self, job_id: str, after: int = 0, timeout_s: float | None = None) -> Iterator[answers.Event]:
        """A job's events behind number ``after``, up to its end; a stream that breaks is taken up again.

        Raises errors.TimedOut after ``timeout_s``, and what stands in the way for good.
        """
        parser = Parser(after)
        end = None if timeout_s is None else time.monotonic() + timeout_s
        began, attempt = time.monotonic(), 0
        while True:
            try:
                for event in self._stream(job_id, parser, end):
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
            if pause_s is None or self._closed.wait(pause_s):
                raise broken

    def _stream(self, job_id: str, parser: Parser, end: float | None) -> Iterator[answers.Event]:
        wait_s = SILENCE_S if end is None else max(0.1, min(SILENCE_S, end - time.monotonic()))
        parser.start()
        path = f"/jobs/{job_id}/events"
        with (
            connection.translated(self.target),
            self._http.stream("GET", path, headers=parser.headers(), timeout=connection.times(wait_s)) as answer,
        ):
            if answer.status_code == 204:
                parser.complete = True
                return
            if answer.status_code != 200:
                raise connection.refused(answer.status_code, answer.headers, answer.read())
            for line in answer.iter_lines():
                check_time(end, job_id)
                yield from parser.take(line)

    def _once(self, call: Call[T], content: Iterator[bytes] | None = None) -> T:
        body = connection.Body(call.wait_s if content is None else float("inf"))
        with (
            connection.translated(self.target),
            self._http.stream(
                call.method,
                call.path,
                content=call.content if content is None else content,
                headers=dict(call.headers),
                timeout=connection.times(call.wait_s),
            ) as answer,
        ):
            for piece in answer.iter_bytes():
                body.add(piece)
        return connection.finish(call, answer.status_code, answer.headers, body.whole())


def check_time(end: float | None, job_id: str) -> None:
    """Raises errors.TimedOut once the clock has passed ``end``; None never passes."""
    if end is not None and time.monotonic() >= end:
        raise errors.TimedOut(f"Job {job_id} has not ended in this time.", "It goes on; wait again, or cancel it.")


def _pieces(file: BinaryIO, sent: Callable[[int], None] | None) -> Iterator[bytes]:
    while piece := file.read(connection.UPLOAD_PIECE_BYTES):
        yield piece
        if sent is not None:
            sent(len(piece))
