"""What Nginx says where it has no room for a body: 503 in the form of each protocol, as long as that lasts."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from deploy.native import ports
from tests.faults import mounts
from tests.integration.nginx_edge import FIRST_PORT, Edge, run
from tests.rabbit import wait_until

SERVICE = "/inference.GRPCInferenceService"
LARGE = b"x" * 2_000_000
SMALL = b"x" * 900_000
NO_ROOM = "There is no room for this body at the moment; try again."
FORMS = [
    ("/predict", "application/problem+json", {"status": 503, "code": "no_room", "detail": NO_ROOM}),
    ("/train", "application/problem+json", {"status": 503, "code": "no_room", "title": "Service Unavailable"}),
    ("/v2/models/m/infer", "application/json", {"error": NO_ROOM}),
    ("/v1/models/m:predict", "application/json", {"error": NO_ROOM}),
    ("/mlflow/m/invocations", "application/json", {"error_code": "TEMPORARILY_UNAVAILABLE", "message": NO_ROOM}),
]


@pytest.fixture(scope="module")
def without_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Where no body can be put into a file: the folder for them is gone."""
    grpc_port = next(port for port in range(FIRST_PORT + 9, FIRST_PORT, -1) if not ports.taken(port))
    with run(tmp_path_factory.mktemp("full"), WARREN_GRPC_PORT=str(grpc_port)) as edge:
        (edge.layout.nginx / "body").rmdir()
        yield edge


def assert_refused(answer: tuple[int, dict[str, str], bytes], kind: str, said: dict[str, object]) -> None:
    status, headers, body = answer
    assert (status, headers["content-type"], headers["retry-after"]) == (503, kind, "1")
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    told = json.loads(body)
    assert {name: told[name] for name in said} == said
    assert told.get("request_id", headers["x-request-id"]) == headers["x-request-id"]


@pytest.mark.parametrize(("path", "kind", "said"), FORMS)
def test_a_body_without_room_is_refused_for_now_in_the_form_of_its_protocol(
    without_room: Edge, path: str, kind: str, said: dict[str, object]
) -> None:
    assert_refused(without_room.ask("POST", path, LARGE), kind, said)
    assert without_room.requests == []
    assert without_room.ask("POST", path, SMALL)[0] == 200, "this one needs no file"
    for replica in without_room.replicas:
        replica.requests.clear()


def test_a_call_without_room_is_refused_with_a_code_that_is_asked_again(without_room: Edge) -> None:
    address = f"127.0.0.1:{without_room.layout.grpc_port}"
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"{SERVICE}/ModelInfer")(LARGE, timeout=10)
    error = caught.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "There is no room for this message at the moment; try again."
    told = dict(error.initial_metadata()) | dict(error.trailing_metadata())
    assert told["retry-after"] == "1"
    assert told["x-request-id"]
    assert without_room.requests == []


def test_a_replicas_own_500_passes_as_it_is(edge: Edge) -> None:
    for replica in edge.replicas:
        replica.answer = (
            b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/problem+json\r\n"
            b'Content-Length: 25\r\n\r\n{"code":"internal_error"}'
        )
    status, headers, body = edge.ask("POST", "/predict", LARGE)
    assert (status, body) == (500, b'{"code":"internal_error"}')
    assert "retry-after" not in headers


def room_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def begun(edge: Edge, path: str, size: int, sent: int, *fields: str) -> socket.socket:
    """A request whose body does not come to its end."""
    client = socket.create_connection(("127.0.0.1", edge.layout.port), timeout=10)
    length = fields or (f"Content-Length: {size}",)
    client.sendall("\r\n".join((f"POST {path} HTTP/1.1", "Host: x", *length, "", "")).encode() + b"x" * sent)
    return client


def test_a_folder_that_unfinished_bodies_have_filled_is_there_again_without_them(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("no small file system can be mounted here: only root may")
    folder = tmp_path / "nginx" / "body"
    folder.mkdir(parents=True)
    mounts.in_memory(folder, 3)
    try:
        with run(tmp_path) as edge:
            with begun(edge, "/predict", 8_000_000, 3_000_000):
                wait_until(lambda: room_bytes(folder) < 2_000_000, "it fills")
                assert not [*folder.iterdir()], "files without names, of which a killed Nginx leaves none"
                assert_refused(edge.ask("POST", "/v2/models/m/infer", LARGE * 2), *FORMS[2][1:])
                assert edge.ask("POST", "/predict", SMALL)[0] == 200
            wait_until(lambda: edge.ask("POST", "/predict", LARGE)[0] == 200, "there is room again")
    finally:
        mounts.unmount(folder)
