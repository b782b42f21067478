"""An HTTP answer in one system call: head and body leave the process together.

Between uvicorn and its socket. uvicorn writes the head of an answer as soon as it has it and
the body after it: two system calls here and two wake-ups in Nginx. Holding the head until the
body follows in the same tick halves the writes. Measured through Nginx at 64 connections on two
busy cores, medians of 12 alternating runs: 178 us of processor time per prediction in Nginx and
replica instead of 187; without Nginx the difference is within the noise.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OneWriteTransport:
    """A transport that holds an answer's head for the body; everything else is the real one's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """``transport`` is the connection's own."""
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        """Whatever else a protocol asks of its transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send ``data``; an answer's head at the end of this tick at the latest."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what is held and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on such a transport."""

    def connection_made(self, transport: Any) -> None:
        """A client connected (asyncio)."""
        super().connection_made(OneWriteTransport(transport, self.loop))  # type: ignore[arg-type]
