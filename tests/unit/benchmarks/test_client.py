from __future__ import annotations

import asyncio
import gc

import pytest

from benchmarks import client
from benchmarks.client import Address, whole


def test_a_body_is_whole_when_its_length_is_there() -> None:
    head = b"http/1.1 200 ok\r\ncontent-length: 5"
    assert whole(head, bytearray(head + b"\r\n\r\nhell"), len(head) + 4) is None
    assert whole(head, bytearray(head + b"\r\n\r\nhello"), len(head) + 4) == b"hello"


def test_chunks_are_joined() -> None:
    head = b"http/1.1 200 ok\r\ntransfer-encoding: chunked"
    body = bytearray(head + b"\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n")
    assert whole(head, body, len(head) + 4) == b"hello!"
    assert whole(head, body[:-5], len(head) + 4) is None


def test_every_answer_is_matched_with_its_request_and_a_lost_connection_is_an_error() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
            if body == b"5":
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async def run() -> list[client.Answer]:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            bodies = [str(number).encode() for number in range(20)]
            lines = await client.in_turn(Address.of(f"http://127.0.0.1:{port}/x"), bodies, 4, 10, repeat=False)
        return [answer for line in lines for answer in line]

    answers = client.run(run())
    assert sorted(answer.number for answer in answers) == list(range(20))
    assert all(answer.body == str(answer.number).encode() for answer in answers if answer.status == 200)
    assert [answer.number for answer in answers if answer.status != 200] == [5]


def test_nothing_is_collected_while_answers_are_timed() -> None:
    async def collecting() -> bool:
        return gc.isenabled()

    async def broken() -> None:
        raise LookupError

    assert not client.run(collecting())
    with pytest.raises(LookupError):
        client.run(broken())
    assert gc.isenabled()
