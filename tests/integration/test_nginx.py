"""The real Nginx with the real configuration, in front of two scripted replicas."""

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from deploy.native import nginx, ports
from deploy.native.layout import Layout
from tests.rabbit import wait_until

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Frame-Options: SAMEORIGIN\r\n\r\nok"
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Type: application/problem+json\r\n"
    b'Content-Length: 15\r\n\r\n{"code":"busy"}'
)


class Replica:
    """Reads whole requests and answers each with ``answer``; with none it hangs up, as a killed one would."""

    def __init__(self, path: Path) -> None:
        self.answer: bytes | None = ANSWER
        self.requests: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while head := self._head(cast("BinaryIO", stream)):
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                body = stream.read(int(length[1])) if length else b""
                self.requests.append(head + body)
                if self.answer is None:
                    return
                connection.sendall(self.answer)

    @staticmethod
    def _head(stream: BinaryIO) -> bytes:
        lines = []
        while (line := stream.readline()) not in (b"", b"\r\n"):
            lines.append(line)
        return b"".join(lines)


class Edge:
    """A running Nginx and its two replicas."""

    def __init__(self, layout: Layout, replicas: list[Replica]) -> None:
        self.layout, self.replicas = layout, replicas

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.layout.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    @property
    def requests(self) -> list[bytes]:
        return [request for replica in self.replicas for request in replica.requests]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    port = next(port for port in range(8300, 8400) if not ports.taken(port))
    layout = Layout.from_environment({"WARREN_HOME": str(tmp_path_factory.mktemp("nginx")), "WARREN_PORT": str(port)})
    layout.create()
    nginx.write(layout)
    with (layout.logs / "nginx.log").open("wb") as log:
        process = subprocess.Popen(nginx.command(layout), stdout=log, stderr=log)
    replicas = [Replica(layout.replica_socket(number)) for number in (1, 2)]
    try:
        wait_until(lambda: ports.taken(port), "Nginx listens")
        yield Edge(layout, replicas)
    finally:
        for replica in replicas:
            replica.close()
        process.terminate()
        process.wait(10)


@pytest.fixture
def edge(running: Edge) -> Edge:
    for replica in running.replicas:
        replica.answer = ANSWER
        replica.requests.clear()
    return running


def test_a_prediction_is_asked_again_of_the_other_replica_when_one_dies(edge: Edge) -> None:
    edge.replicas[0].answer = None
    answers = [edge.ask("POST", "/predict", b'{"n":1}') for _ in range(10)]
    assert {status for status, _, _ in answers} == {200}
    assert len(edge.replicas[1].requests) == 10
    assert edge.replicas[0].requests, "the dying replica was asked first some of the time"
    assert all(request.endswith(b'{"n":1}') for request in edge.requests)


def test_a_prediction_is_asked_twice_at_most(edge: Edge) -> None:
    for replica in edge.replicas:
        replica.answer = None
    status, headers, body = edge.ask("POST", "/predict", b"{}")
    assert (status, headers["retry-after"]) == (502, "1")
    assert json.loads(body)["code"] == "replica_unavailable"
    assert len(edge.requests) == 2


@pytest.mark.parametrize("path", ["/train", "/jobs/abc/cancel", "/models/m/rollback", "/datasets"])
def test_nothing_else_that_is_posted_is_asked_twice(edge: Edge, path: str) -> None:
    for replica in edge.replicas:
        replica.answer = None
    status, _, _ = edge.ask("POST", path, b"{}")
    assert status == 502
    assert len(edge.requests) == 1


def test_what_only_reads_is_asked_again(edge: Edge) -> None:
    edge.replicas[0].answer = None
    assert {edge.ask("GET", "/models")[0] for _ in range(6)} == {200}


def test_a_replica_that_is_back_is_used_at_once(edge: Edge) -> None:
    """With Nginx's own max_fails the pair would be shunned for ten seconds."""
    for replica in edge.replicas:
        replica.answer = None
    assert edge.ask("POST", "/train", b"{}")[0] == 502
    for replica in edge.replicas:
        replica.answer = ANSWER
    assert [edge.ask("POST", "/train", b"{}")[0] for _ in range(4)] == [200] * 4


def test_an_answer_of_a_replica_passes_as_it_is(edge: Edge) -> None:
    for replica in edge.replicas:
        replica.answer = BUSY
    status, headers, body = edge.ask("POST", "/predict", b"{}")
    assert (status, headers["retry-after"], body) == (503, "3", b'{"code":"busy"}')
    assert len(edge.requests) == 1


def test_a_sane_request_id_is_kept_and_any_other_replaced(edge: Edge) -> None:
    _, headers, _ = edge.ask("GET", "/x", headers={"X-Request-ID": "order-17.a_b"})
    assert headers["x-request-id"] == "order-17.a_b"
    _, headers, _ = edge.ask("GET", "/x", headers={"X-Request-ID": "<script>" + "a" * 200})
    assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
    assert f"X-Request-ID: {headers['x-request-id']}".encode() in edge.requests[-1] + edge.requests[0]


def test_what_a_caller_claims_about_proxies_is_dropped(edge: Edge) -> None:
    edge.ask(
        "GET", "/x", headers={"X-Forwarded-For": "8.8.8.8", "X-Forwarded-Host": "evil", "Forwarded": "for=8.8.8.8"}
    )
    (request,) = edge.requests
    assert b"8.8.8.8" not in request
    assert b"evil" not in request
    assert b"X-Forwarded-For: 127.0.0.1" in request


@pytest.mark.parametrize(
    ("path", "size", "refused"),
    [
        ("/predict", 8 * 1024 * 1024 + 1, True),
        ("/predict", 8 * 1024 * 1024, False),
        ("/train", 8 * 1024 * 1024 + 1, True),
        ("/models/m/rollback", 64 * 1024 + 1, True),
        ("/models/m/rollback", 64 * 1024, False),
    ],
)
def test_bodies_over_the_limit_of_their_path_never_reach_a_replica(
    edge: Edge, path: str, size: int, refused: bool
) -> None:
    if not refused:
        assert edge.ask("POST", path, b"x" * size)[0] == 200
        return
    with socket.create_connection(("127.0.0.1", edge.layout.port), timeout=5) as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        reply = client.recv(4096)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in reply
    assert edge.requests == []


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "malformed_body"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_body"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not_implemented"),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "http_version"),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method_not_allowed"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not_found"),
        (
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed_body",
        ),
    ],
)
def test_what_nginx_refuses_by_itself_is_a_problem_document(edge: Edge, raw: bytes, status: int, code: str) -> None:
    with socket.create_connection(("127.0.0.1", edge.layout.port), timeout=5) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        reply = b""
        while piece := client.recv(65_536):
            reply += piece
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/problem+json" in head
    assert b"X-Content-Type-Options: nosniff" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, f"urn:warren:problem:{code}")
    assert f"X-Request-ID: {problem['request_id']}".encode() in head
    assert edge.requests == []


def test_every_answer_has_the_security_headers_once(edge: Edge) -> None:
    for path in ("/models", "/metrics"):
        _, headers, _ = edge.ask("GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["server"] == "nginx"


def test_the_log_is_json_with_the_path_and_without_the_query(edge: Edge) -> None:
    edge.ask("GET", "/models?key=secret", headers={"X-Request-ID": "logged-1"})
    log = edge.layout.logs / "nginx.log"
    wait_until(lambda: "logged-1" in log.read_text(), "the line is written")
    line = json.loads(next(line for line in log.read_text().splitlines() if "logged-1" in line))
    assert (line["method"], line["path"], line["status"]) == ("GET", "/models", 200)
    assert "secret" not in log.read_text()


def test_every_file_nginx_writes_is_under_the_home(edge: Edge) -> None:
    edge.ask("POST", "/predict", b"x" * 1_000_000)
    process = (edge.layout.run / "nginx.pid").read_text().strip()
    writable = [
        str(link.readlink())
        for link in Path(f"/proc/{process}/fd").iterdir()
        if str(link.readlink()).startswith("/") and not str(link.readlink()).startswith("/dev/")
    ]
    assert writable
    assert all(path.startswith(str(edge.layout.home)) for path in writable)
