"""A gateway as scripted by a test, on a real socket: what it was asked, and what it answers, in order."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """``cut``: the connection ends after so many bytes; ``late_s``: only after this time, or when the test ends."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    late_s: float = 0.0


Script = Answer | Callable[[Asked], Answer]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_request: object) -> None:
        """A client that left in the middle is no error of the test."""


class ScriptedGateway:
    """Answers as ``script`` says, the last entry again and again; ``asked`` remembers every request."""

    def __init__(self, *script: Script) -> None:
        self._script = list(script)
        self._turn = threading.Lock()
        self.asked: list[Asked] = []
        self.ended = threading.Event()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def _serve(self) -> None:
                gateway.serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, *_arguments: object) -> None:
                return

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, handler.path, headers, body, time.monotonic())
        with self._turn:
            self.asked.append(asked)
            entry = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        answer = entry if isinstance(entry, Answer) else entry(asked)
        if answer.late_s:
            self.ended.wait(answer.late_s)
        self._write(handler, answer)

    def _write(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        try:
            if answer.cut == 0:
                handler.connection.shutdown(socket.SHUT_RDWR)
                handler.close_connection = True
                return
            handler.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                handler.send_header(name, value)
            if answer.status != 204:
                handler.send_header("content-length", str(len(answer.body)))
            handler.end_headers()
            handler.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
            handler.wfile.flush()
            if answer.cut is not None:
                handler.connection.shutdown(socket.SHUT_RDWR)
                handler.close_connection = True
        except OSError:
            handler.close_connection = True


def ok(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {name.replace("_", "-"): text for name, text in headers.items()})


def problem(status: int, code: str, **more: Any) -> Answer:
    retry_after = more.pop("retry_after", None)
    document = {
        "type": f"urn:warren:problem:{code}",
        "title": "No",
        "status": status,
        "detail": "It is so.",
        "code": code,
    }
    headers = {"content-type": "application/problem+json"} | ({"retry-after": retry_after} if retry_after else {})
    return Answer(status, json.dumps({**document, "request_id": "req-1", **more}).encode(), headers)


PREDICTED = ok({"model": "m", "version": 3, "predictions": ["yes"], "request_id": "req-1"})
ACCEPTED = ok({"job_id": "a" * 32, "status": "queued", "links": {}}, 202)
JOB = {
    "job_id": "a" * 32,
    "kind": "train",
    "status": "running",
    "model": "m",
    "progress": {"fraction": 0.5, "stage": "fit", "message": ""},
    "attempts": 1,
    "created_at": "2026-11-22T10:00:00Z",
}


def stream(*events: tuple[int, str, dict[str, Any]], tail: str = "") -> bytes:
    text = "retry: 1000\n\n" + "".join(
        f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n: alive\n\n" for number, name, data in events
    )
    return (text + tail).encode()
