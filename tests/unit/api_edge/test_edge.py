"""The edge around every route, on an application without broker or ledger."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api import bodies, headers
from api.app import Gateway, create_app
from wire.settings import Limits, Predict, Settings


@pytest.fixture
def app() -> Gateway:
    app = create_app(Settings(limits=Limits(predict_body_bytes=1000), predict=Predict(waiting_bytes=2000)))

    @app.get("/breaks")
    async def breaks() -> None:
        raise RuntimeError("password=hunter2")

    @app.get("/breaks/late")
    async def breaks_late() -> Any:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"x"
            raise RuntimeError("too late for an answer")

        return StreamingResponse(pieces())

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        limit = int(request.query_params["limit"])
        async with bodies.read_json(request, dict[str, str], limit_bytes=limit) as body:
            return bodies.answer(body)

    @app.get("/numbers")
    async def numbers(number: int) -> int:
        return number

    return app


@pytest.fixture
async def client(app: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


def check(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) <= 4096
    told: dict[str, Any] = answer.json()
    assert told["code"] == code
    assert told["status"] == status
    assert told["request_id"] == answer.headers["x-request-id"]
    for name, value in headers.SECURITY:
        assert answer.headers[name.decode()] == value.decode()
    return told


async def test_an_unknown_path_is_a_problem(client: httpx.AsyncClient) -> None:
    check(await client.get("/nothing/here"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/predict", "POST"),
        ("PATCH", "/models/m", "DELETE, GET"),
        ("POST", "/models/m/aliases/a", "DELETE, PUT"),
    ],
)
async def test_a_wrong_method_names_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)
    check(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allow


async def test_an_unexpected_error_says_nothing_and_is_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    told = check(await client.get("/breaks"), 500, "internal_error")
    assert "hunter2" not in json.dumps(told)
    assert any(record.exc_info and record.msg == "request.failed" for record in caplog.records)


async def test_an_error_in_the_middle_of_an_answer_breaks_it_off(client: httpx.AsyncClient) -> None:
    with pytest.raises(RuntimeError):
        await client.get("/breaks/late")


async def test_a_bad_parameter_is_named_without_its_value(client: httpx.AsyncClient) -> None:
    told = check(await client.get("/numbers", params={"number": "hunter2"}), 422, "bad_input")
    assert told["errors"][0]["at"] == "query.number"
    assert "hunter2" not in json.dumps(told)


@pytest.mark.parametrize("path", ["/livez", "/predict"])
async def test_headers_and_addresses_have_bounds(client: httpx.AsyncClient, path: str) -> None:
    method = "POST" if path == "/predict" else "GET"
    answer = await client.request(method, path, headers={"x-filler": "y" * headers.MAX_BYTES})
    check(answer, 431, "headers_too_large")
    check(await client.request(method, path, params={"q": "y" * headers.MAX_TARGET_BYTES}), 414, "uri_too_long")


async def test_a_sane_request_id_comes_back_and_another_is_replaced(client: httpx.AsyncClient) -> None:
    kept = await client.get("/livez", headers={"X-Request-ID": "abc-1"})
    replaced = await client.get("/livez", headers={"X-Request-ID": "a b"})
    assert kept.headers["x-request-id"] == "abc-1"
    assert replaced.headers["x-request-id"] != "a b"


JSON_TYPE = {"content-type": "application/json"}
GOOD = b'{"model":"m","instances":[[1]]}'


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 100


@pytest.mark.parametrize(
    ("content", "sent", "status", "code"),
    [
        (GOOD, {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (GOOD, {}, 415, "unsupported_media_type"),
        (GOOD, {**JSON_TYPE, "content-encoding": "gzip"}, 415, "unsupported_media_type"),
        (b" " * 1001, JSON_TYPE, 413, "too_large"),
        (endless, JSON_TYPE, 413, "too_large"),
        (b"", {**JSON_TYPE, "content-length": "x"}, 400, "malformed_body"),
        (b"", JSON_TYPE, 400, "malformed_body"),
        (b"{}", JSON_TYPE, 422, "bad_input"),
        (GOOD, {**JSON_TYPE, "x-request-timeout-ms": "soon"}, 422, "bad_input"),
    ],
)
async def test_predictions_are_checked_like_everything_else(
    client: httpx.AsyncClient, content: Any, sent: dict[str, str], status: int, code: str
) -> None:
    body: bytes | AsyncIterator[bytes] = content() if callable(content) else content
    check(await client.post("/predict", content=body, headers=sent), status, code)


Call = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
def raw(app: Gateway) -> Call:
    """A prediction by bare ASGI: headers and messages as given."""

    async def call(sent: list[tuple[bytes, bytes]], *received: dict[str, Any]) -> list[Any]:
        answered: list[Any] = []
        messages = iter(received)

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            answered.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": sent}
        await app(scope, receive, send)
        return answered

    return call


async def test_a_body_without_a_length_is_411(raw: Call) -> None:
    start, _ = await raw([(b"content-type", b"application/json")])
    assert start["status"] == 411


async def test_a_client_that_leaves_within_its_body_gets_nothing(raw: Call) -> None:
    sent = [(b"content-type", b"application/json"), (b"content-length", b"100")]
    assert await raw(sent, {"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}) == []


async def test_an_unexpected_error_of_a_prediction_is_a_plain_500(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """No lifespan ran, so there is no coalescer: a defect."""
    check(await client.post("/predict", content=GOOD, headers=JSON_TYPE), 500, "internal_error")
    assert any(record.exc_info and record.msg == "predict.failed" for record in caplog.records)


async def test_other_protocols_pass_untouched(app: Gateway) -> None:
    """A websocket has no route here; Starlette closes it."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/predict", "headers": [], "query_string": b"", "subprotocols": []}
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


async def pieces(count: int) -> AsyncIterator[bytes]:
    yield b'{"a":"'
    for _ in range(count):
        yield b"x" * 1000
    yield b'"}'


@pytest.mark.parametrize("count", [1, 100], ids=["small", "large"])
async def test_bodies_of_any_size_are_read(client: httpx.AsyncClient, count: int) -> None:
    answer = await client.post("/echo?limit=1000000", content=pieces(count), headers=JSON_TYPE)
    assert answer.json() == {"a": "x" * 1000 * count}


async def test_bodies_beyond_their_limit_are_413(client: httpx.AsyncClient) -> None:
    check(await client.post("/echo?limit=900", content=pieces(1), headers=JSON_TYPE), 413, "too_large")
    declared = await client.post("/echo?limit=5", content=b'{"a":"b"}', headers=JSON_TYPE)
    check(declared, 413, "too_large")


async def test_a_body_that_ends_too_early_is_400_and_one_without_a_length_411(app: Gateway) -> None:
    for sent, status in (([(b"content-length", b"9")], 400), ([], 411)):
        answered: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any, answered: list[Any] = answered) -> None:
            answered.append(message)

        headers_sent = [(b"content-type", b"application/json"), *sent]
        scope = {
            "type": "http", "method": "POST", "path": "/echo", "query_string": b"limit=100", "headers": headers_sent,
        }  # fmt: skip
        await app(scope, receive, send)
        assert answered[0]["status"] == status
