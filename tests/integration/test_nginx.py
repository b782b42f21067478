"""Which replica the real Nginx asks, how often, and what passes it on the way."""

import contextlib
import json
import re
import socket
from pathlib import Path

import pytest

from api.headers import SECURITY
from tests.integration.nginx_edge import ANSWER, Edge
from tests.rabbit import wait_until

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\nContent-Type: application/problem+json\r\n"
    b'Content-Length: 15\r\n\r\n{"code":"busy"}'
)


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


def test_every_answer_has_the_security_headers_once(edge: Edge) -> None:
    own = b"".join(b"%b: %b\r\n" % field for field in SECURITY)
    for replica in edge.replicas:
        replica.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\nok" % own
    for path in ("/models", "/metrics"):
        _, fields, _ = edge.ask_with_fields("GET", path)
        found = {name: [value for other, value in fields if other == name] for name, _ in fields}
        assert found["x-content-type-options"] == ["nosniff"]
        assert found["x-frame-options"] == ["DENY"]
        assert found["cache-control"] == ["no-store"]
        [policy] = found["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert found["server"] == ["nginx"]


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
