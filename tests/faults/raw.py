"""HTTP by hand: bytes go to the stack as they are, and what comes back is read without believing anything."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_ids = itertools.count(1)


def request(method: str, target: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A request with its length; ``target`` as it is sent. It has an id of its own unless ``headers`` give one."""
    named = any(header.startswith("X-Request-ID:") for header in headers)
    own = () if named else (f"X-Request-ID: raw-{next(_ids)}",)
    given = (f"Content-Type: {kind}", *own, f"Content-Length: {len(body)}", *headers)
    lines = (f"{method} {target} HTTP/1.1", "Host: localhost", *given)
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


_LAST_ID = "asked-last"
_LAST = request("GET", "/jobs/asked-last", b"", f"X-Request-ID: {_LAST_ID}", "Connection: close")


class Words(NamedTuple):
    """How a refusal is said: its media type, and the members that it has."""

    media: str
    names: tuple[str, ...]


PROBLEM: Final = Words("application/problem+json", ("status", "code", "request_id"))
"""Our own calls."""
_PROTOCOLS = {
    "/v1": Words("application/json", ("error",)),
    "/v2": Words("application/json", ("error",)),
    "/mlflow": Words("application/json", ("error_code", "message")),
}


def words_of(path: str) -> Words:
    """How a call of this path refuses."""
    return next((words for prefix, words in _PROTOCOLS.items() if path.startswith(f"{prefix}/")), PROBLEM)


@dataclass(frozen=True)
class Answer:
    """``status`` 0: the connection ended without an answer; ``seconds`` from the last byte sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def objection(self, also: Collection[int] = (), words: Words = PROBLEM) -> str:
        """What is wrong with it as a refusal, empty when it is as promised: 4xx or ``also``, in its words, small."""
        if not (400 <= self.status < 500 or self.status in also):
            return f"status {self.status}: {self.body[:100]!r}"
        if not self.headers.get("content-type", "").startswith(words.media):
            return f"{self.status} as {self.headers.get('content-type')}: {self.body[:100]!r}"
        if len(self.body) > 4096:
            return f"{self.status} with {len(self.body)} bytes"
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(self.body)
            return (
                ""
                if all(told[name] for name in words.names) and told.get("status", self.status) == self.status
                else f"{told}"
            )
        return f"{self.status} not readable: {self.body[:100]!r}"


class Line:
    """A kept connection that is opened again when the other side closes it after an answer."""

    def __init__(self, url: str, timeout_s: float = 10) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._left = b""

    def ask(self, request: bytes) -> Answer:
        """Send the bytes, read one answer."""
        answer = self._exchange(request)
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def only_answer(self, content: bytes) -> Answer:
        """The one answer to these bytes, read until the connection ends; with another one, or no end in time, none.

        After the first answer one more request goes out, which asks to close the connection. Answers come in order:
        a second request that the bytes hid would be answered before that one, or have swallowed it.
        """
        end = time.monotonic() + self._timeout_s
        first = self._exchange(content)
        answers, sent = [first], _LAST
        while answers[-1].status:
            self._socket.settimeout(max(0.1, end - time.monotonic()))  # type: ignore[union-attr]
            answers.append(self._exchange(sent))
            sent = b""
        *more, ending = answers[1:] or [first]
        if more and (more[-1].status, more[-1].headers.get("x-request-id")) == (404, _LAST_ID):
            more.pop()
        if first.status and (more or self._left or b"Timeout" in ending.body):
            told = f"{first.status}, then {[one.status for one in more]} {self._left[:60]!r} {ending.body.decode()}"
            return Answer(0, {}, told.encode(), first.seconds)
        return first

    def _exchange(self, request: bytes) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout_s)
            self._left = b""
        with contextlib.suppress(OSError):
            self._socket.sendall(request)
        sent_at = time.monotonic()
        try:
            status, headers, body = self._read()
        except (OSError, ValueError) as error:
            self.close()
            return Answer(0, {}, repr(error).encode(), time.monotonic() - sent_at)
        return Answer(status, headers, body, time.monotonic() - sent_at)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _read(self) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        if "content-length" in headers:
            size = int(headers["content-length"])
            while len(self._left) < size:
                self._more()
            body, self._left = self._left[:size], self._left[size:]
            return status, headers, body
        return status, headers, self._chunks()

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._left:
                self._more()
            size_text, _, self._left = self._left.partition(b"\r\n")
            size = int(size_text, 16)
            while len(self._left) < size + 2:
                self._more()
            body, self._left = body + self._left[:size], self._left[size + 2 :]
            if not size:
                return body

    def _more(self) -> None:
        assert self._socket is not None
        block = self._socket.recv(65_536)
        if not block:
            raise ConnectionResetError("closed")
        self._left += block
