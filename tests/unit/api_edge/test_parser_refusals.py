"""What the parser of HTTP refuses, in the form of the protocol whose path it was: on a socket, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import uvicorn
from uvicorn.server import ServerState

from api import headers
from api.app import create_app
from api.predict.lean import LeanProtocol
from wire.settings import Settings

GRPC = "/inference.GRPCInferenceService/ModelInfer"
SENTENCE = "This is not an HTTP request."


class Told(NamedTuple):
    """An answer after which the connection ended."""

    status: int
    fields: dict[str, str]
    body: bytes


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of a server of the application."""
    config = uvicorn.Config(create_app(Settings()), http=LeanProtocol, lifespan="off", proxy_headers=False)
    config.load()
    loop = asyncio.get_running_loop()
    path = tmp_path / "door.sock"
    server = await loop.create_unix_server(lambda: LeanProtocol(config, ServerState(), {}, loop), path)
    yield path
    server.close()


async def sent(door: Path, *pieces: bytes) -> Told:
    """The one answer to these bytes."""
    reader, writer = await asyncio.open_unix_connection(door)
    async with asyncio.timeout(10):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        answer = await reader.read()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    fields = [tuple(each.split(": ", 1)) for each in lines]
    assert len(dict(fields)) == len(fields), "each header once"
    told = Told(int(line.split()[1]), dict(fields), body)
    assert int(told.fields["content-length"]) == len(body)
    assert told.fields["connection"] == "close"
    for name, value in headers.SECURITY:
        assert told.fields[name.decode()] == value.decode()
    return told


def broken(path: str, method: str = "POST") -> bytes:
    """A request with a control character in a header."""
    return f"{method} {path} HTTP/1.1\r\nX-Request-ID: mine\r\nX-A: a\x06b\r\n\r\n".encode()


def is_problem(told: Told) -> bool:
    found = json.loads(told.body)
    assert (found["status"], found["code"], found["detail"]) == (400, "malformed_body", SENTENCE)
    assert found["request_id"] == told.fields["x-request-id"]
    return (told.status, told.fields["content-type"]) == (400, "application/problem+json")


def is_error(told: Told) -> bool:
    assert json.loads(told.body) == {"error": SENTENCE}
    return (told.status, told.fields["content-type"]) == (400, "application/json")


def is_mlflow_error(told: Told) -> bool:
    assert json.loads(told.body) == {"error_code": "BAD_REQUEST", "message": SENTENCE}
    return (told.status, told.fields["content-type"]) == (400, "application/json")


def is_grpc_code(told: Told) -> bool:
    assert (told.fields["grpc-status"], told.fields["grpc-message"], told.body) == ("3", SENTENCE, b"")
    return (told.status, told.fields["content-type"]) == (200, "application/grpc")


FORMS = [
    ("/predict", is_problem),
    ("/train", is_problem),
    ("/v2x", is_problem),
    ("/x?y=/v2/", is_problem),
    ("/v2", is_error),
    ("/v2/models/m/infer", is_error),
    ("/v2/models/m?x=1", is_error),
    ("/v1/models/m:predict", is_error),
    ("/%76%31/models/m", is_error),
    ("/mlflow/m/invocations", is_mlflow_error),
    ("/mlflow/m/ping", is_mlflow_error),
    (GRPC, is_grpc_code),
]


@pytest.mark.parametrize(("path", "is_form"), FORMS)
async def test_a_refusal_has_the_form_of_its_path(door: Path, path: str, is_form: Callable[[Told], bool]) -> None:
    for method in ("GET", "POST"):
        told = await sent(door, broken(path, method))
        assert is_form(told)
        assert told.fields["x-request-id"] == "mine"
    assert is_form(await sent(door, f"POST {path} HTTP/9.9\r\n\r\n".encode()))
    assert is_form(await sent(door, f"POST {path} HTTP/1.1\r\nContent-Length: x\r\n\r\n".encode()))
    assert is_form(await sent(door, *(bytes([each]) for each in broken(path))))


@pytest.mark.parametrize(
    "garbage", [b"\0\r\n\r\n", b"BREW /v2/models/m HTTP/1.1\r\n\r\n", b"GET /v2/models/\x01 HTTP/1.1\r\n\r\n"]
)
async def test_without_a_path_it_is_a_problem(door: Path, garbage: bytes) -> None:
    assert is_problem(await sent(door, garbage))


async def test_a_page_is_refused_on_the_connection_itself_too(door: Path) -> None:
    for lines in ("Host: evil.example", "Host: localhost\r\nOrigin: null", "Host: [::1]\r\nSec-Fetch-Site: cross-site"):
        head = f"POST /predict HTTP/1.1\r\n{lines}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        told = await sent(door, head.encode())
        assert (told.status, json.loads(told.body)["code"]) == (403, "forbidden")


async def test_the_path_of_the_request_before_is_forgotten(door: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(door)
    async with asyncio.timeout(10):
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        writer.write(b"\0\r\n\r\n")
        assert b"application/problem+json" in await reader.read()
    writer.close()
