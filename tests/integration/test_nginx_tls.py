"""The real Nginx with TLS on: what it speaks, what it refuses, and what callers are told."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from deploy.native import ports, readiness
from tests import certificates
from tests.integration.nginx_edge import ANSWER, FIRST_PORT, Edge, run
from warren.connection import Target

SERVICE = "/inference.GRPCInferenceService"
CALL_ANSWERED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: 0\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0"
)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = certificates.make(folder, "localhost")
    grpc_port = next(port for port in range(FIRST_PORT + 9, FIRST_PORT, -1) if not ports.taken(port))
    given = {"WARREN_TLS__CERTIFICATE_FILE": str(certificate), "WARREN_TLS__KEY_FILE": str(key)}
    with run(folder / "home", WARREN_GRPC_PORT=str(grpc_port), **given) as edge:
        yield edge


def trusting(edge: Edge) -> ssl.SSLContext:
    """What a caller has who was given the certificate: its name is checked too."""
    return ssl.create_default_context(cafile=edge.layout.tls.certificate_file)


def credentials(edge: Edge) -> grpc.ChannelCredentials:
    """The same for gRPC."""
    certificate = edge.layout.tls.certificate_file
    assert certificate is not None
    return grpc.ssl_channel_credentials(certificate.read_bytes())


def refused(channel: grpc.Channel, call: str) -> Any:
    """How a call ended that was refused."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(call)(b"", timeout=20)
    return caught.value


@contextlib.contextmanager
def asking(connection: HTTPConnection, path: str) -> Iterator[HTTPResponse]:
    with contextlib.closing(connection):
        connection.request("GET", path)
        with connection.getresponse() as answer:
            yield answer


def test_a_caller_who_checks_the_certificate_is_answered_and_told_once_to_stay_with_tls(secured: Edge) -> None:
    connection = HTTPSConnection("127.0.0.1", secured.layout.port, timeout=10, context=trusting(secured))
    with asking(connection, "/models") as answer:
        assert (answer.status, answer.read()) == (200, b"ok")
        assert answer.headers.get_all("strict-transport-security") == ["max-age=31536000"]
    assert b"X-Forwarded-Proto: https" in secured.requests[-1]
    assert readiness.answers(f"{secured.layout.url}/readyz"), "make up asks by an address, whatever the certificate"


def test_the_python_client_trusts_what_ssl_cert_file_names_on_this_machine_too(
    secured: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Target(secured.layout.url)
    with (
        httpx.Client(**asked.options()) as client,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get("/models")
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.layout.tls.certificate_file))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with httpx.Client(**asked.options()) as client:
        assert client.get("/models").text == "ok"


def test_what_nginx_answers_by_itself_tells_callers_as_well(secured: Edge) -> None:
    connection = HTTPSConnection("127.0.0.1", secured.layout.port, timeout=10, context=trusting(secured))
    with asking(connection, "/metrics") as answer:
        assert answer.status == 404
        assert answer.headers.get_all("strict-transport-security") == ["max-age=31536000"]


def test_plain_http_is_refused_with_what_to_do_and_reaches_no_replica(secured: Edge) -> None:
    for replica in secured.replicas:
        replica.requests.clear()
    with asking(HTTPConnection("127.0.0.1", secured.layout.port, timeout=10), "/models") as answer:
        problem = json.loads(answer.read())
        assert (answer.status, problem["status"], problem["code"]) == (421, 421, "https_required")
        assert "https" in problem["detail"]
        assert answer.headers["strict-transport-security"] is None, "nothing that came in the clear may say so"
    with asking(HTTPConnection("127.0.0.1", secured.layout.port, timeout=10), "/v2/models/m") as answer:
        assert (answer.status, "https" in json.loads(answer.read())["error"]) == (421, True)
    assert secured.requests == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", ["TLSv1_1", "TLSv1_2", "TLSv1_3"])
def test_only_versions_of_today_are_spoken(secured: Edge, version: str) -> None:
    context = trusting(secured)
    # OpenSSL offers the old ones only when it is told not to care.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    plain = socket.create_connection(("127.0.0.1", secured.layout.port), timeout=10)
    with context.wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False) as connection:
        if version == "TLSv1_1":
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                connection.do_handshake()
        else:
            connection.do_handshake()
            assert connection.version() == version.replace("_", ".")


def test_grpc_is_spoken_over_tls_too_and_not_in_the_clear(secured: Edge) -> None:
    address = f"localhost:{secured.layout.grpc_port}"
    with grpc.secure_channel(address, credentials(secured)) as channel:
        error = refused(channel, f"{SERVICE}/None")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    told = [*error.initial_metadata(), *error.trailing_metadata()]
    assert [value for name, value in told if name == "strict-transport-security"] == ["max-age=31536000"]
    with grpc.insecure_channel(address) as channel:
        assert refused(channel, f"{SERVICE}/None").code() is grpc.StatusCode.UNAVAILABLE
    with asking(HTTPConnection("127.0.0.1", secured.layout.grpc_port, timeout=10), "/") as answer:
        assert (answer.status, answer.headers["grpc-status"]) == (200, "3")
        assert answer.headers["strict-transport-security"] is None, "nothing that came in the clear may say so"


def test_a_replica_knows_that_a_call_came_over_tls_and_its_caller_is_told_to_stay_with_it(secured: Edge) -> None:
    for replica in secured.replicas:
        replica.answer = CALL_ANSWERED
    try:
        with grpc.secure_channel(f"localhost:{secured.layout.grpc_port}", credentials(secured)) as channel:
            call = channel.unary_unary(f"{SERVICE}/ServerLive")
            _, answer = call.with_call(b"", timeout=20, metadata=(("x-forwarded-proto", "gopher"),))
    finally:
        for replica in secured.replicas:
            replica.answer = ANSWER
    told = [value for name, value in answer.initial_metadata() if name == "strict-transport-security"]
    assert told == ["max-age=31536000"]
    sent = secured.requests[-1].lower()
    assert (sent.count(b"x-forwarded-proto:"), b"x-forwarded-proto: https\r\n" in sent) == (1, True)


def test_nginx_complains_about_nothing(secured: Edge) -> None:
    log = Path(secured.layout.logs / "nginx.log").read_text()
    assert [line for line in log.splitlines() if "[warn]" in line or "[emerg]" in line] == []
