"""The real Nginx with the real configuration, in front of two scripted replicas."""

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
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
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        come_from: str = "127.0.0.1",
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.layout.port, timeout=10, source_address=(come_from, 0))
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    @property
    def requests(self) -> list[bytes]:
        return [request for replica in self.replicas for request in replica.requests]


@contextlib.contextmanager
def run(home: Path, **environment: str) -> Iterator[Edge]:
    port = next(port for port in range(8300, 8400) if not ports.taken(port))
    layout = Layout.from_environment({"WARREN_HOME": str(home), "WARREN_PORT": str(port), **environment})
    layout.create()
    nginx.write(layout, r"^\d{1,2}$")
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


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with run(tmp_path_factory.mktemp("nginx")) as edge:
        yield edge


@pytest.fixture
def edge(running: Edge) -> Edge:
    for replica in running.replicas:
        replica.answer = ANSWER
        replica.requests.clear()
    return running


def test_predictions_of_few_clients_go_to_one_replica_and_everything_else_to_both(edge: Edge) -> None:
    for _ in range(10):
        edge.ask("POST", "/predict", b"{}")
    assert sorted(len(replica.requests) for replica in edge.replicas) == [0, 10]
    for _ in range(10):
        edge.ask("GET", "/models")
    assert min(len(replica.requests) for replica in edge.replicas) >= 3


def test_predictions_of_many_clients_go_to_both_replicas(edge: Edge) -> None:
    with contextlib.ExitStack() as others:
        for _ in range(100):
            others.enter_context(socket.create_connection(("127.0.0.1", edge.layout.port), timeout=10))
        for _ in range(10):
            assert edge.ask("POST", "/predict", b"{}")[0] == 200
    assert min(len(replica.requests) for replica in edge.replicas) >= 3


def shared_by(edge: Edge) -> set[bytes]:
    """What the replicas were told of how many of them take turns with a request."""
    return {said for request in edge.requests for said in re.findall(rb"X-Warren-Replicas: ([^\r]*)", request)}


def test_a_replica_is_told_how_many_take_turns_whatever_a_caller_claims(edge: Edge) -> None:
    claimed = {"X-Warren-Replicas": "7"}
    edge.ask("POST", "/predict", b"{}", claimed)
    assert shared_by(edge) == {b"1"}, "predictions of few clients go to one replica"
    edge.ask("GET", "/models", headers=claimed)
    assert shared_by(edge) == {b"1", b"2"}
    for replica in edge.replicas:
        replica.requests.clear()
    with contextlib.ExitStack() as others:
        for _ in range(100):
            others.enter_context(socket.create_connection(("127.0.0.1", edge.layout.port), timeout=10))
        edge.ask("POST", "/predict", b"{}", claimed)
    assert shared_by(edge) == {b"2"}


PREDICTIONS = [
    "/predict",
    "/v2/models/m/infer",
    "/v2/models/m/versions/3/infer",
    "/v1/models/m:predict",
    "/v1/models/m/versions/3:predict",
    "/v1/models/m/labels/beta:predict",
    "/mlflow/m/invocations",
]


@pytest.mark.parametrize("path", PREDICTIONS)
def test_a_prediction_is_asked_again_of_the_other_replica_when_one_dies(edge: Edge, path: str) -> None:
    edge.ask("POST", path, b"{}")
    asked_first = max(edge.replicas, key=lambda replica: len(replica.requests))
    other = min(edge.replicas, key=lambda replica: len(replica.requests))
    asked_first.answer = None
    answers = [edge.ask("POST", path, b'{"n":1}') for _ in range(10)]
    assert {status for status, _, _ in answers} == {200}
    assert len(other.requests) == 10
    assert len(asked_first.requests) == 11, "the dying replica was asked first"
    assert sum(request.endswith(b'{"n":1}') for request in edge.requests) == 20


def test_a_prediction_is_asked_twice_at_most(edge: Edge) -> None:
    for replica in edge.replicas:
        replica.answer = None
    status, headers, body = edge.ask("POST", "/predict", b"{}")
    assert (status, headers["retry-after"]) == (502, "1")
    assert json.loads(body)["code"] == "replica_unavailable"
    assert len(edge.requests) == 2


NOT_TWICE = [
    "/train",
    "/jobs/abc/cancel",
    "/models/m/rollback",
    "/datasets",
    "/v2/repository/index",
    "/v2/x/infer",
    "/v1/models/m:classify",
    "/mlflow/m/ping",
]


@pytest.mark.parametrize("path", NOT_TWICE)
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
        ("/v2/models/m/infer", 8 * 1024 * 1024 + 1, True),
        ("/v2/models/m/infer", 8 * 1024 * 1024, False),
        ("/v2/repository/index", 64 * 1024 + 1, True),
        ("/v1/models/m:predict", 8 * 1024 * 1024, False),
        ("/mlflow/m/invocations", 8 * 1024 * 1024, False),
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
    assert (b'{"error":"' if path.startswith("/v2/") else b"application/problem+json") in reply
    assert edge.requests == []


@pytest.mark.parametrize("path", ["/predict", "/train", "/models/m/rollback"])
def test_a_body_in_chunks_that_grows_beyond_the_limit_is_refused_as_one_with_a_length(edge: Edge, path: str) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", edge.layout.port), timeout=5) as client:
        with contextlib.suppress(OSError):  # closed when the answer is sent, perhaps before all of it is
            client.sendall(head + chunk * 12)
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


ERROR = {"error": "No replica answered; try again."}
MLFLOW_ERROR = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "No replica answered; try again."}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v2/models/m/infer", ERROR),
        ("/v2/x", ERROR),
        ("/v2", ERROR),
        ("/v1/models/m", ERROR),
        ("/mlflow/m/ping", MLFLOW_ERROR),
    ],
)
def test_clients_of_another_protocol_get_its_own_form_of_what_nginx_refuses(
    edge: Edge, path: str, said: dict[str, str]
) -> None:
    for replica in edge.replicas:
        replica.answer = None
    status, headers, body = edge.ask("GET", path)
    assert (status, headers["content-type"]) == (502, "application/json")
    assert json.loads(body) == said


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


RATE = 20
TOO_OFTEN = "This address asks more often than it may; try again later."
ELSEWHERE = "127.0.0.2"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with run(tmp_path_factory.mktemp("limited"), WARREN_ADDRESS_RATE=str(RATE)) as edge:
        yield edge


def refused_by_the_model(sent_at_s: list[float]) -> int:
    """A second's worth may come at once, and RATE a second after that."""
    excess, last_s, refused = -1.0, sent_at_s[0], 0
    for at_s in sent_at_s:
        would_be = max(0.0, excess - RATE * (at_s - last_s) + 1)
        if would_be > RATE:
            refused += 1
        else:
            excess, last_s = would_be, at_s
    return refused


def test_an_address_that_asks_ten_times_too_often_gets_its_rate_and_others_notice_nothing(limited: Edge) -> None:
    sent_at_s: list[float] = []
    answers: list[int] = []
    others: list[int] = []
    began_s = time.monotonic()
    while (now_s := time.monotonic()) < began_s + 4:
        sent_at_s.append(now_s)
        answers.append(limited.ask("POST", "/predict", b"{}")[0])
        if len(answers) % 20 == 0:
            others.append(limited.ask("POST", "/predict", b"{}", come_from=ELSEWHERE)[0])
        # A fixed rate: the next one is due then, whatever this one took.
        time.sleep(max(0.0, began_s + len(answers) / (10 * RATE) - time.monotonic()))
    assert set(answers) == {200, 429}
    assert answers.count(429) / len(answers) == pytest.approx(refused_by_the_model(sent_at_s) / len(answers), rel=0.05)
    assert len(others) > 10
    assert set(others) == {200}


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/predict", "application/problem+json", {"status": 429, "code": "rate_limited", "title": "Too Many Requests"}),
        ("/v2/models/m/infer", "application/json", {"error": TOO_OFTEN}),
        ("/v1/models/m:predict", "application/json", {"error": TOO_OFTEN}),
        ("/mlflow/m/invocations", "application/json", {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": TOO_OFTEN}),
    ],
)
def test_who_asks_too_often_is_told_so_in_the_form_of_its_protocol(
    limited: Edge, path: str, kind: str, said: dict[str, object]
) -> None:
    answers = [limited.ask("POST", path, b"{}") for _ in range(3 * RATE)]
    _, headers, body = next(answer for answer in answers if answer[0] == 429)
    assert (headers["content-type"], headers["retry-after"]) == (kind, "1")
    assert headers["x-content-type-options"] == "nosniff"
    told = json.loads(body)
    assert {name: told[name] for name in said} == said


def test_health_is_not_counted_and_without_a_rate_nothing_is(limited: Edge, edge: Edge) -> None:
    assert {limited.ask("GET", "/readyz")[0] for _ in range(4 * RATE)} == {200}
    assert {edge.ask("GET", "/models")[0] for _ in range(4 * RATE)} == {200}
