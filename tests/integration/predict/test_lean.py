"""Predictions answered on their connection, byte for byte: what HTTP allows a client to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.predict.lean import LeanProtocol
from tests.integration.predict.conftest import OpenReplica, Replica, until
from tests.integration.predict.scripted import ScriptedPredictor


def request(number: int, *lines: str, body: bytes | None = None, method: str = "POST", version: str = "1.1") -> bytes:
    body = b'{"model":"m","instances":[[%d]]}' % number if body is None else body
    head = [f"{method} /predict HTTP/{version}", "Host: localhost", "Content-Type: application/json", *lines]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body


class Door:
    """A server of a replica's application on a Unix socket, with the protocol that replicas use."""

    def __init__(self, replica: Replica, path: Path) -> None:
        self.replica, self.path, self.state = replica, path, ServerState()
        self.config = uvicorn.Config(
            replica.app, http=LeanProtocol, lifespan="off", server_header=False, proxy_headers=False
        )
        self.config.load()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: LeanProtocol(self.config, self.state, {}, loop), self.path)

    def close(self) -> None:
        self._server.close()
        for connection in tuple(self.state.connections):
            connection.transport.abort()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Client:
    """One connection, read answer by answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        async with asyncio.timeout(15):
            line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(line.split()[1]), headers, json.loads(body)

    async def ask(self, sent: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
        self.writer.write(sent)
        return await self.answer()

    async def ended(self) -> bool:
        async with asyncio.timeout(15):
            return await self.reader.read() == b""


@asynccontextmanager
async def opened(open_replica: OpenReplica, folder: Path, **predict: Any) -> AsyncIterator[Door]:
    async with open_replica(**predict) as replica:
        door = Door(replica, folder / "door.sock")
        await door.start()
        try:
            yield door
        finally:
            door.close()


async def test_both_doors_give_the_same_answer(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path
) -> None:
    async with opened(open_replica, tmp_path) as door, door.connected() as client:
        status, headers, told = await client.ask(request(7, "X-Request-ID: mine"))
        asgi = await door.replica.client.post(
            "/predict", json={"model": "m", "instances": [[7]]}, headers={"X-Request-ID": "mine"}
        )
    assert (status, told) == (200, asgi.json())
    assert told["predictions"] == [7]
    assert headers.keys() - {"date"} == dict(asgi.headers).keys()
    changing = {"date", "server-timing"}
    assert all(headers[name] == asgi.headers[name] for name in headers.keys() - changing)


async def test_requests_may_come_in_any_pieces_and_one_after_another(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path
) -> None:
    async with opened(open_replica, tmp_path) as door, door.connected() as client:
        for number in (1, 2):
            for byte in request(number):
                client.writer.write(bytes([byte]))
                await client.writer.drain()
            assert (await client.answer())[2]["predictions"] == [number]
        sent = request(3, "Transfer-Encoding: chunked", body=b"")
        whole = b'{"model":"m","instances":[[3]]}'
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (whole[:9], whole[9:])) + b"0\r\n\r\n"
        assert (await client.ask(sent + pieces))[2]["predictions"] == [3]


async def test_pipelined_requests_are_answered_in_order(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path
) -> None:
    async with opened(open_replica, tmp_path) as door, door.connected() as client:
        client.writer.write(request(1) + request(2) + request(3))
        assert [(await client.answer())[2]["predictions"] for _ in range(3)] == [[1], [2], [3]]


async def test_what_is_unusual_is_answered_all_the_same(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path
) -> None:
    async with opened(open_replica, tmp_path) as door:
        async with door.connected() as client:
            status, headers, told = await client.ask(request(1, method="GET", body=b""))
            assert (status, headers["allow"], told["code"]) == (405, "POST", "method_not_allowed")
            client.writer.write(request(4, "Expect: 100-continue"))
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await client.answer())[2]["predictions"] == [4]
        async with door.connected() as client:
            assert (await client.ask(request(5, version="1.0")))[2]["predictions"] == [5]
            assert await client.ended()
        async with door.connected() as client:
            status, headers, told = await client.ask(request(6, "Connection: close"))
            assert (status, headers["connection"], told["predictions"]) == (200, "close", [6])
            assert await client.ended()


async def test_a_refused_body_leaves_the_connection_usable(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path
) -> None:
    async with opened(open_replica, tmp_path) as door, door.connected() as client:
        limit = door.replica.app.predictions.body_bytes
        door.replica.app.predictions.body_bytes = 100
        try:
            status, _, told = await client.ask(request(1, body=b" " * 200))
            assert (status, told["code"]) == (413, "too_large")
            chunk = b"a0\r\n" + b" " * 160 + b"\r\n"
            status, _, told = await client.ask(request(1, "Transfer-Encoding: chunked", body=chunk * 2 + b"0\r\n\r\n"))
            assert (status, told["code"]) == (413, "too_large")
            assert (await client.ask(request(8)))[2]["predictions"] == [8]
        finally:
            door.replica.app.predictions.body_bytes = limit
        assert door.replica.app.predictions.receiving_bytes == 0


@pytest.mark.parametrize("model", ["m", "missing"])
@pytest.mark.parametrize("rows", [1, 200_000], ids=["few", "many"])
async def test_broken_rows_are_named_as_such_whatever_a_predictor_says_of_them(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path, model: str, rows: int
) -> None:
    body = b'{"model":"%b","instances":[[%b1,]]}' % (model.encode(), b"1," * rows)
    async with opened(open_replica, tmp_path) as door, door.connected() as client:
        status, _, told = await client.ask(request(1, body=body))
        assert (status, told["code"], told["detail"]) == (400, "malformed_body", "The body is not JSON.")
        assert (await client.ask(request(8)))[2]["predictions"] == [8]
        assert not door.replica.held


async def test_a_client_that_leaves_gives_its_place_free(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path
) -> None:
    async with opened(open_replica, tmp_path) as door:
        predictor.gate.clear()

        async def held(count: int) -> None:
            async def reached() -> bool:
                return door.replica.held == count

            await until(reached, f"{count} held")

        async with door.connected() as client:
            client.writer.write(request(1))
            await held(1)
        await held(0)
        async with door.connected() as client:
            client.writer.write(request(2)[:-5])
            await client.writer.drain()

        async def nothing_reserved() -> bool:
            return door.replica.app.predictions.receiving_bytes == 0

        await until(nothing_reserved, "the half request is forgotten")


async def test_a_stopping_server_answers_what_it_has_and_closes(
    open_replica: OpenReplica, predictor: ScriptedPredictor, tmp_path: Path
) -> None:
    async with opened(open_replica, tmp_path) as door, door.connected() as client:
        predictor.gate.clear()
        client.writer.write(request(9))
        assert await asyncio.to_thread(predictor.seen.wait, 15)
        for connection in tuple(door.state.connections):
            connection.shutdown()
        predictor.gate.set()
        status, headers, told = await client.answer()
        assert (status, headers["connection"], told["predictions"]) == (200, "close", [9])
        assert await client.ended()


@pytest.mark.parametrize(
    "sent", [request(1, "X-Request-ID: mine", "X-A: a\x06b"), b"\0\r\n\r\n", b"GET /x HTTP/9.9\r\n\r\n"]
)
async def test_what_the_parser_refuses_gets_a_problem_and_the_security_headers(
    open_replica: OpenReplica, tmp_path: Path, sent: bytes
) -> None:
    async with opened(open_replica, tmp_path) as door, door.connected() as client:
        status, headers, told = await client.ask(sent)
        assert await client.ended()
    assert (status, told["status"], told["code"]) == (400, 400, "malformed_body")
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert told["request_id"] == headers["x-request-id"] == ("mine" if b"mine" in sent else told["request_id"])
