"""Thousands of damaged bodies over every call that takes JSON: only 4xx, small, and always a problem."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.app import Gateway, create_app
from api.lifespan import running
from wire import settings

SEED = 20261122
COUNT = 3000
GOOD: dict[str, tuple[str, bytes]] = {
    "/predict": ("POST", b'{"model":"m","instances":[[1,2.5,null,"x"]],"version":3,"probabilities":true}'),
    "/train": ("POST", b'{"model":"m","dataset":{"sample":"iris"},"target":"t","params":{"a":1},"promote":"never"}'),
    "/models/m/aliases/a": ("PUT", b'{"version":1,"expected":2}'),
}  # fmt: skip
DAMAGE = [
    b"NaN", b"Infinity", b"1e999", b'"\\ud800"', b"\xff", b"\xef\xbb\xbf", b"[" * 40, b"{" * 40, b'"a":1,"a":2',
    b"9" * 5000, b"-", b"null", b"\x00", b'"', b"\\", b",", b"]", b"}", b":", b"1.5", b"[]", b"{}", b"true",
    b'"x\n"', b"\xed\xa0\x80", "\u202e".encode(),
]  # fmt: skip


def damaged(draw: random.Random, body: bytes) -> bytes:
    broken = bytearray(body)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(broken) + 1)
        kind = draw.randrange(4)
        if kind == 0:
            broken[at:at] = draw.choice(DAMAGE)
        elif kind == 1:
            del broken[at : at + draw.randrange(8)]
        elif kind == 2:
            broken[at : at + 1] = bytes([draw.randrange(256)])
        else:
            broken[at : at + draw.randrange(6)] = draw.choice(DAMAGE)
    return bytes(broken)


async def call(app: Gateway, method: str, path: str, body: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    parts: Iterator[dict[str, Any]] = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(parts, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "scheme": "http", "server": ("replica", 80), "client": ("caller", 1),
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(part.get("body", b"") for part in sent[1:])


async def test_damaged_bodies_get_small_problems_and_nothing_breaks(tmp_path: Path) -> None:
    """Without a broker, so that a body that is still good is 503 and goes nowhere."""
    config = settings.Settings(
        broker=settings.Broker(port=1),
        ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"),
        paths=settings.Paths(datasets=tmp_path / "datasets"),
    )
    app = create_app(config)
    draw = random.Random(SEED)
    async with running(app, config):
        await app.state.gateway.migrated.wait()
        for _ in range(COUNT):
            path = draw.choice(list(GOOD))
            method, body = GOOD[path]
            broken = damaged(draw, body)
            status, headers, answer = await call(app, method, path, broken)
            assert status in (400, 422, 503), (SEED, path, status, broken)
            assert headers[b"content-type"] == b"application/problem+json", (SEED, path, broken)
            assert len(answer) <= 4096, (SEED, path, broken)
