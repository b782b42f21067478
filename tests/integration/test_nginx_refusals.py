"""What Nginx refuses by itself never reaches a replica, and is said in the form of its protocol."""

import contextlib
import json
import socket

import pytest

from tests.integration.nginx_edge import Edge


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


@pytest.mark.parametrize(
    "path",
    [
        "/predict",
        "/train",
        "/models/m/rollback",
        "/v2/models/m/infer",
        "/v1/models/m:predict",
        "/mlflow/m/invocations",
    ],
)
def test_a_body_in_chunks_that_grows_beyond_the_limit_is_refused_as_one_with_a_length(edge: Edge, path: str) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", edge.layout.port), timeout=5) as client:
        with contextlib.suppress(OSError):  # closed when the answer is sent, perhaps before all of it is
            client.sendall(head + chunk * 12)
        reply = client.recv(4096)
    assert reply.startswith(b"HTTP/1.1 413 ")
    plain = path.startswith(("/v1/", "/v2/", "/mlflow/"))
    assert (b"Content-Type: application/json" if plain else b"Content-Type: application/problem+json") in reply
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
    ("method", "path", "said"),
    [
        ("GET", "/v2/models/m/infer", ERROR),
        ("GET", "/v2/x", ERROR),
        ("GET", "/v2", ERROR),
        ("GET", "/v1/models/m", ERROR),
        ("GET", "/mlflow/m/ping", MLFLOW_ERROR),
        ("POST", "/v2/models/m/infer", ERROR),
        ("POST", "/v1/models/m:predict", ERROR),
        ("POST", "/mlflow/m/invocations", MLFLOW_ERROR),
    ],
)
def test_clients_of_another_protocol_get_its_own_form_of_what_nginx_refuses(
    edge: Edge, method: str, path: str, said: dict[str, str]
) -> None:
    for replica in edge.replicas:
        replica.answer = None
    # More than may come where nothing else is said.
    status, headers, body = edge.ask(method, path, b"x" * 100_000 if method == "POST" else b"")
    assert (status, headers["content-type"]) == (502, "application/json")
    assert json.loads(body) == said
