"""The real Nginx with the real configuration, in front of two replicas, spoken to with gRPC."""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import grpc
import pytest

from api.protocols.open_inference_grpc import framing
from deploy.native import nginx, ports
from deploy.native.layout import Layout
from tests.rabbit import wait_until
from wire import errors

INFER = "/inference.GRPCInferenceService/ModelInfer"
Code = grpc.StatusCode


class Replica:
    """Answers each call with its own number and what it was sent; ``gate`` holds it back."""

    def __init__(self, layout: Layout, number: int) -> None:
        self.number = number
        self.seen: list[dict[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.refuse: dict[str, str] = {}
        self._path = layout.replica_socket(number)
        self.start()

    def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = _Server(str(self._path), self)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """As one that was killed: every connection ends, with whatever was under way."""
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()


class _Server(socketserver.ThreadingUnixStreamServer):
    """Serves HTTP on a Unix socket, and knows its connections."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, replica: Replica) -> None:
        super().__init__(path, _Call)
        self.replica = replica
        self.connections: list[socket.socket] = []

    def get_request(self) -> Any:
        connection, _ = super().get_request()
        self.connections.append(connection)
        # The handler wants an address that it can print.
        return connection, ("replica", 0)

    def hang_up(self) -> None:
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Call(BaseHTTPRequestHandler):
    """One connection of Nginx's; a call is a POST with a framed message."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        replica = self.server.replica
        body = self.rfile.read(int(self.headers["content-length"]))
        replica.seen.append({name.lower(): value for name, value in self.headers.items()})
        assert replica.gate.wait(20)
        if replica.refuse:
            return self._answer(b"", replica.refuse)
        message = b"%d %d" % (replica.number, len(framing.message(body)))
        return self._answer(framing.body(message), {"grpc-status": "0"})

    def _answer(self, body: bytes, fields: dict[str, str]) -> None:
        self.send_response_only(200)
        for name, value in {"content-type": "application/grpc", "x-frame-options": "DENY", **fields}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Edge:
    """A running Nginx, a client of it, and its two replicas."""

    def __init__(self, layout: Layout, replicas: list[Replica], channel: grpc.Channel) -> None:
        self.layout, self.replicas, self.channel = layout, replicas, channel

    def ask(self, body: bytes = b"", path: str = INFER, **given: Any) -> bytes:
        answer: bytes = self.channel.unary_unary(path)(body, **{"timeout": 20, **given})
        return answer

    def refused(self, body: bytes = b"", path: str = INFER, **given: Any) -> Any:
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(body, path, **given)
        return caught.value


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    free = [str(port) for port in range(8310, 8400) if not ports.taken(port)]
    home = tmp_path_factory.mktemp("nginx")
    layout = Layout.from_environment({"WARREN_HOME": str(home), "WARREN_PORT": free[0], "WARREN_GRPC_PORT": free[1]})
    layout.create()
    nginx.write(layout)
    with (layout.logs / "nginx.log").open("wb") as log:
        process = subprocess.Popen(nginx.command(layout), stdout=log, stderr=log)
    replicas = [Replica(layout, number) for number in (1, 2)]
    try:
        wait_until(lambda: ports.taken(layout.grpc_port), "Nginx listens")
        with grpc.insecure_channel(f"127.0.0.1:{layout.grpc_port}") as channel:
            yield Edge(layout, replicas, channel)
    finally:
        for replica in replicas:
            replica.stop()
        process.terminate()
        process.wait(10)


@pytest.fixture
def edge(running: Edge) -> Edge:
    for replica in running.replicas:
        replica.refuse = {}
        replica.seen.clear()
    return running


def test_calls_of_one_connection_go_to_both_replicas(edge: Edge) -> None:
    assert {edge.ask(b"x" * 10) for _ in range(10)} == {b"1 10", b"2 10"}
    sent = edge.replicas[0].seen[0]
    assert sent["x-request-id"]
    assert "x-forwarded-for" in sent


def test_the_request_id_and_the_deadline_reach_the_replica(edge: Edge) -> None:
    channel = edge.channel.unary_unary(INFER)
    claimed = (
        ("x-request-id", "mine-1"), ("x-real-ip", "1.2.3.4"), ("x-warren-replicas", "7"),
        ("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example"),
        ("x-forwarded-port", "443"), ("forwarded", "for=1.2.3.4"),
    )  # fmt: skip
    _, call = channel.with_call(b"", timeout=20, metadata=claimed)
    assert dict(call.initial_metadata())["x-request-id"] == "mine-1"
    (sent,) = edge.replicas[0].seen + edge.replicas[1].seen
    assert sent["x-request-id"] == "mine-1"
    assert sent["grpc-timeout"][-1] in "HMSmun"
    assert {"x-real-ip", "te", "forwarded", "x-forwarded-host", "x-forwarded-port"}.isdisjoint(sent)
    assert (sent["x-forwarded-for"], sent["x-forwarded-proto"]) == ("127.0.0.1", "http"), "what Nginx saw itself"
    headers, trailers = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert {"grpc-status", "x-frame-options", "strict-transport-security"}.isdisjoint(headers)
    assert "x-request-id" not in trailers
    assert sent["x-warren-replicas"] == "2", "its calls take turns"


def test_a_replicas_own_refusal_passes_as_it_is(edge: Edge) -> None:
    full = {"grpc-status": "8", "grpc-message": "Too much to do: na%C3%AFvely full.", "retry-after": "1"}
    for replica in edge.replicas:
        replica.refuse = full
    error = edge.refused()
    assert (error.code(), error.details()) == (Code.RESOURCE_EXHAUSTED, "Too much to do: naïvely full.")
    assert dict(error.initial_metadata())["retry-after"] == "1"
    assert len(edge.replicas[0].seen + edge.replicas[1].seen) == 1, "it was not asked twice"


@pytest.mark.parametrize("wide", ["列", "я", "x"])
def test_the_longest_refusal_passes_whatever_its_characters(edge: Edge, wide: str) -> None:
    places = [errors.FieldError(f"inputs[{at}].name", wide * 240) for at in range(16)]
    written = framing.refusal(errors.BadInput(errors=places))
    for replica in edge.replicas:
        replica.refuse = {name.decode(): value.decode() for name, value in written.fields}
    error = edge.refused()
    assert error.code() is Code.INVALID_ARGUMENT
    assert f"inputs[0].name {wide * 200}" in error.details()
    assert len(edge.replicas[0].seen + edge.replicas[1].seen) == 1, "it was not asked twice"


def test_a_replica_that_is_gone_is_passed_by_and_used_again_at_once(edge: Edge) -> None:
    edge.replicas[0].stop()
    assert {edge.ask() for _ in range(10)} == {b"2 0"}
    edge.replicas[1].stop()
    error = edge.refused()
    assert (error.code(), error.details()) == (Code.UNAVAILABLE, "No replica answered; try again.")
    for replica in edge.replicas:
        replica.start()
    assert {edge.ask() for _ in range(10)} == {b"1 0", b"2 0"}


def test_a_call_whose_replica_dies_is_asked_again_of_the_other_one(edge: Edge) -> None:
    dying, other = edge.replicas
    for replica in edge.replicas:
        replica.gate.clear()
    calling = [edge.channel.unary_unary(INFER).future(b"", timeout=20) for _ in range(2)]
    wait_until(lambda: len(dying.seen) == 1 and len(other.seen) == 1, "both are being answered")
    dying.stop()
    other.gate.set()
    assert [call.result() for call in calling] == [b"2 0", b"2 0"]
    assert dying.seen[0]["x-request-id"] in [sent["x-request-id"] for sent in other.seen]
    dying.gate.set()
    dying.start()


def test_a_deadline_ends_the_call_and_a_client_that_leaves_is_forgotten(edge: Edge) -> None:
    for replica in edge.replicas:
        replica.gate.clear()
    error = edge.refused(timeout=0.3)
    assert error.code() is Code.DEADLINE_EXCEEDED
    for replica in edge.replicas:
        replica.gate.set()
    assert edge.ask()


def test_what_nginx_refuses_is_a_code_and_a_sentence(edge: Edge) -> None:
    error = edge.refused(path="/some.Other/Call")
    assert (error.code(), error.details()) == (Code.UNIMPLEMENTED, "There is no such call.")
    error = edge.refused(b"x" * 9_000_000)
    assert (error.code(), error.details()) == (
        Code.RESOURCE_EXHAUSTED,
        "The message or its metadata is over the limit.",
    )
    trailers = dict(error.trailing_metadata()) | dict(error.initial_metadata())
    assert trailers["x-request-id"]
    assert edge.ask(b"x" * 8_000_000).endswith(b" 8000000")


def test_the_log_has_the_code(edge: Edge) -> None:
    edge.ask(metadata=(("x-request-id", "logged-ok"),))
    edge.refused(path="/some.Other/Call", metadata=(("x-request-id", "logged-no"),))
    log = edge.layout.logs / "nginx.log"
    wait_until(lambda: "logged-ok" in log.read_text() and "logged-no" in log.read_text(), "the lines are written")
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"logged-' in line]
    assert {line["request_id"]: line["grpc_status"] for line in lines} == {"logged-ok": "0", "logged-no": "12"}
