"""HTTP by hand: bytes go to the stack as they are, and what comes back is read without believing anything."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

_ids = itertools.count(1)


def request(method: str, target: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A request with its length; ``target`` as it is sent."""
    given = (f"Content-Type: {kind}", f"X-Request-ID: raw-{next(_ids)}", f"Content-Length: {len(body)}", *headers)
    lines = (f"{method} {target} HTTP/1.1", "Host: stack", *given)
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Answer:
    """``status`` 0: the connection ended without an answer; ``seconds`` from the last byte sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def problem(self) -> str:
        """What a refusal must not be, empty when it is as promised: 4xx, a problem document, small.

        501 and 505 are HTTP's own words for a transfer encoding and a version that are not offered.
        """
        if not (400 <= self.status < 500 or self.status in (501, 505)):
            return f"status {self.status}"
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return f"{self.status} as {self.headers.get('content-type')}: {self.body[:100]!r}"
        if len(self.body) > 4096:
            return f"{self.status} with {len(self.body)} bytes"
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(self.body)
            return "" if told["status"] == self.status and told["code"] and told["request_id"] else f"{told}"
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
        if headers.get("connection", "").lower() == "close":
            self.close()
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
