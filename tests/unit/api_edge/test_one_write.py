"""Head and body of an answer leave in one write, and nothing is held longer than a tick."""

from __future__ import annotations

import asyncio
from typing import Any

from api.one_write import OneWriteProtocol, OneWriteTransport

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Socket:
    """Where a transport's bytes end."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, _name: str) -> Any:
        return None

    def is_closing(self) -> bool:
        return self.closed


async def test_head_and_body_are_one_write() -> None:
    socket = Socket()
    transport = OneWriteTransport(socket, asyncio.get_running_loop())  # type: ignore[arg-type]
    transport.write(HEAD)
    transport.write(b"body")
    transport.write(b"more")
    await asyncio.sleep(0)
    assert socket.writes == [HEAD + b"body", b"more"]


async def test_a_head_alone_leaves_at_the_end_of_the_tick() -> None:
    """An event stream: its head must not wait for the first event."""
    socket = Socket()
    transport = OneWriteTransport(socket, asyncio.get_running_loop())  # type: ignore[arg-type]
    transport.write(HEAD)
    assert socket.writes == []
    await asyncio.sleep(0)
    assert socket.writes == [HEAD]


async def test_closing_sends_what_is_held() -> None:
    socket = Socket()
    transport = OneWriteTransport(socket, asyncio.get_running_loop())  # type: ignore[arg-type]
    transport.write(HEAD)
    transport.close()
    assert (socket.writes, socket.closed, transport.is_closing()) == ([HEAD], True, True)


def test_the_server_uses_it() -> None:
    from api.serve import Worker

    assert Worker.CONFIG_KWARGS["http"] is OneWriteProtocol
